"""Proxy ground truth where no MOS exists: encodes of known order along each ladder and of known VMAF across all."""

from compressvqa.data.proxy.build import DEFAULT_LADDER, build_proxy_set, proxy_pieces

__all__ = ["DEFAULT_LADDER", "build_proxy_set", "proxy_pieces"]
