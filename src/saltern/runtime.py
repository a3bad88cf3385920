"""Lightning Fabric set up from config."""
