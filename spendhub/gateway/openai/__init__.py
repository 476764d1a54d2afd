"""How we speak to OpenAI's SDKs: what they ask, and in which shape they are answered."""
