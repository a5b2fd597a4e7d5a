/** In place of the codecs of Zarr, which are not used. */
export default null;
