"""How we speak to Anthropic's SDKs: what they ask, and in which shape they are answered."""
