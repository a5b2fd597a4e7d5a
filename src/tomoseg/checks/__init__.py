"""What looks wrong about a scan or a dataset, before it is used."""
