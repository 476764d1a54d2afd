"""How we speak to Google's SDKs: what they ask, and in which shape they are answered."""
