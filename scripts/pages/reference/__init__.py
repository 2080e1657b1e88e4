"""One file a part of the reference; each makes Markdown of what the code registers, declares or documents."""
