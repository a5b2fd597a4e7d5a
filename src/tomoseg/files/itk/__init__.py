"""NRRD and MetaImage files, as ITK and 3D Slicer write them."""
