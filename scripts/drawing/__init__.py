"""Draw photos that look taken, with exact masks: belts, land, pipes and pets."""
