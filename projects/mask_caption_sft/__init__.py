"""Two-stage fine-tuning of Sa2VA on masks without captions."""
