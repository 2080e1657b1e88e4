"""Runs a static program for 64-bit ARM Linux in Unicorn, an emulator: reads standard input, writes standard output."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

PAGE = 4096
HEAP, HEAP_BYTES = 0x20_0000_0000, 1 << 30
STACK, STACK_BYTES = 0x70_0000_0000, 8 << 20
NO_SUCH_CALL = -38 & (1 << 64) - 1
READ, WRITE, READV, WRITEV, EXIT, EXIT_GROUP, MUNMAP, MMAP = 63, 64, 65, 66, 93, 94, 215, 222
HARMLESS = {29, 96, 134, 135, 226, 233}  # ioctl, set_tid_address, signals, mprotect, madvise: nothing hangs on them
LOADED, PROGRAM_HEADERS, HEADER_BYTES, HEADERS, PAGE_BYTES, RANDOM = 1, 3, 4, 5, 6, 25


class Machine:
    """A processor, its memory, and the few calls of Linux that C's library makes.

    Memory that is given back is not used again, so that what is new is zero, as it must be.

    Args:
        program: an ELF file, linked statically at a fixed address.
        given: what it finds on standard input.
    """

    def __init__(self, program: Path, given: bytes) -> None:
        import unicorn
        from unicorn import arm64_const as names

        self._r, self.given, self.said, self.code = names, given, b"", -1
        self.cpu: Any = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        self.cpu.reg_write(names.UC_ARM64_REG_CPACR_EL1, 3 << 20)  # numbers and vectors are not trapped
        entry, auxiliary = self._load(program.read_bytes())
        self.cpu.mem_map(HEAP, HEAP_BYTES)
        self.cpu.mem_map(STACK, STACK_BYTES)
        self._free, self._entry = HEAP, entry
        top = STACK + STACK_BYTES - PAGE
        words = [1, top, 0, 0]  # argc, argv and its end, no environment
        for pair in ({**auxiliary, PAGE_BYTES: PAGE, RANDOM: top + 64}).items():
            words += pair
        words += [0, 0]
        begin = top - 8 * len(words) & ~15
        self.cpu.mem_write(begin, struct.pack(f"<{len(words)}Q", *words))
        self.cpu.mem_write(top, b"program\0")
        self.cpu.reg_write(names.UC_ARM64_REG_SP, begin)
        self.cpu.hook_add(unicorn.UC_HOOK_INTR, self._call)

    def run(self) -> tuple[int, bytes]:
        """Its exit code, and what it wrote to standard output."""
        self.cpu.emu_start(self._entry, 0)
        return self.code, self.said

    def _load(self, elf: bytes) -> tuple[int, dict[int, int]]:
        assert elf[:5] == b"\x7fELF\x02" and struct.unpack_from("<HH", elf, 16) == (2, 183), "no static program for ARM"
        entry, table = struct.unpack_from("<QQ", elf, 24)
        size, count = struct.unpack_from("<HH", elf, 54)
        parts = [struct.unpack_from("<IIQQQQQQ", elf, table + k * size) for k in range(count)]
        loaded = [part for part in parts if part[0] == LOADED]
        low = min(part[3] for part in loaded) & -PAGE
        high = max(part[3] + part[6] for part in loaded)
        self.cpu.mem_map(low, (high - low + PAGE - 1) & -PAGE)
        for _, _, offset, address, _, in_file, _, _ in loaded:
            self.cpu.mem_write(address, elf[offset : offset + in_file])
        first = next(part for part in loaded if part[2] <= table < part[2] + part[5])
        headers = first[3] + table - first[2]
        return entry, {PROGRAM_HEADERS: headers, HEADER_BYTES: size, HEADERS: count}

    def _call(self, cpu: Any, number: int, _: Any) -> None:
        """Answers a call of the kernel (svc)."""
        r = self._r
        call, *given = (cpu.reg_read(name) for name in (r.UC_ARM64_REG_X8, r.UC_ARM64_REG_X0, r.UC_ARM64_REG_X1,
                                                        r.UC_ARM64_REG_X2))  # fmt: skip
        assert number == 2, f"exception {number} at {cpu.reg_read(r.UC_ARM64_REG_PC):#x}"
        answer = 0
        if call in (EXIT, EXIT_GROUP):
            self.code = given[0]
            cpu.emu_stop()
        elif call == MMAP:
            answer, self._free = self._free, self._free + ((given[1] + PAGE - 1) & -PAGE)
            assert self._free <= HEAP + HEAP_BYTES, "out of emulated memory"
        elif call in (READ, WRITE, READV, WRITEV):
            parts = [(given[1], given[2])]
            if call in (READV, WRITEV):
                parts = [struct.unpack("<QQ", cpu.mem_read(given[1] + 16 * k, 16)) for k in range(given[2])]
            move = self._read if call in (READ, READV) else self._write
            answer = sum(move(*part) for part in parts)
        elif call not in HARMLESS and call != MUNMAP:
            answer = NO_SUCH_CALL
        cpu.reg_write(r.UC_ARM64_REG_X0, answer)

    def _read(self, address: int, count: int) -> int:
        part, self.given = self.given[:count], self.given[count:]
        self.cpu.mem_write(address, part)
        return len(part)

    def _write(self, address: int, count: int) -> int:
        self.said += bytes(self.cpu.mem_read(address, count))
        return count
