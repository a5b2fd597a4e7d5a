"""Public datasets from their servers: archives fetched whole or in part, checked and unpacked."""
