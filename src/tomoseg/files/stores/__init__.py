"""Object stores and web servers as places of scans and results, by way of files in the user's cache folder."""
