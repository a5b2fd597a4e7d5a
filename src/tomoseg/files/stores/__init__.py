"""Object stores and web servers for scans and results, mirrored as files in the user's cache folder."""
