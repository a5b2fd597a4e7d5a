"""Download of public datasets: archives are fetched whole or in part, checked and unpacked."""
