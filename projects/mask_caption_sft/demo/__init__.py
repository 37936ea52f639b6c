"""A page to look through a model: masks to captions, texts to masks, and the round trip."""
