"""What a trained network is saved as."""
