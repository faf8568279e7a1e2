"""Who may ask, with which model, for how much: rules resolved for a place and a person."""
