"""What a model's captions are worth where nobody has described the regions."""
