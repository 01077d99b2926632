"""The main job before one's eyes, on practice marketplaces: everything real but the marketplaces."""
