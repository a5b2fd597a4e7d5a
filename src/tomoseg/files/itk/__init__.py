"""NRRD and MetaImage files, the formats of ITK and 3D Slicer."""
