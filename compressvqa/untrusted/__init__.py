"""What comes from outside and may have been written by anybody, read within limits.

Every such file is opened through this room or through the decoders of `compressvqa.video`; docs/threat_model.md says
what is trusted and what is not.
"""

from compressvqa.untrusted.json_text import parse_json, read_json
from compressvqa.untrusted.paths import is_folder, local_file, not_a_file, read_bytes, read_text
from compressvqa.untrusted.yaml_text import parse_yaml

__all__ = ["is_folder", "local_file", "not_a_file", "parse_json", "parse_yaml", "read_bytes", "read_json", "read_text"]
