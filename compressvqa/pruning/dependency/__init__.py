"""What is tied to what: labels of channels, rules of operators, groups."""
