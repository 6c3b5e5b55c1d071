#!/usr/bin/python3 -B
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a command in a virtual machine that has Debian's kernel and this machine's files.

    tests/vm/vm.py [--out DIR] [--cpus N] [--memory MIB] [--seconds N] COMMAND [WORD]...

QEMU emulates the processor (TCG), so no /dev/kvm is needed. The root is this machine's /, read-only over 9p, under an overlay in
memory: programs, libraries and the build folder have the same paths inside, and nothing written there stays but what is written to
DIR (/out inside). The exit status is the command's (0 to 123); 124 = not within the time, 125 = the machine ended without a word.

Nothing of the kernel is installed on this machine: its package is downloaded once, its image unpacked for a quick start, and a small
initrd made with the modules that mount the root. All of it lies in /var/cache/vpnsip/vm.
"""

import argparse
import lzma
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("VPNSIP_VM_CACHE", "/var/cache/vpnsip/vm"))
META_PACKAGE = "linux-image-amd64"
ROOT_MODULES = ["virtio_pci", "9pnet_virtio", "9p", "overlay"]
DEBUG_EXIT_PORT = 0xF4
OVERDUE, SILENT = 124, 125
KERNEL_OPTIONS = ("console=ttyS0 quiet loglevel=3 panic=1 edd=off mitigations=off audit=0 apparmor=0 selinux=0 tsc=reliable "
                  "init_on_alloc=0 hardened_usercopy=off rcupdate.rcu_expedited=1 "
                  "cryptomgr.notests=1")  # the self-tests of the ciphers take seconds under emulation
# What is dear to emulate: a fifth level of page tables, a flag around every access to user memory, copies octet by octet.
PROCESSOR = "max,-la57,-smap,-smep,-umip,-erms,-fsrm"


class VmError(Exception):
    pass


class NoKernel(VmError):
    """Its package is neither here nor to be had."""


def run(*words, **options):
    done = subprocess.run([str(word) for word in words], capture_output=True, **options)
    if done.returncode != 0:
        raise VmError(f"{' '.join(map(str, words))}: exit {done.returncode}: {done.stderr.decode(errors='replace').strip()[-400:]}")
    return done.stdout


def fetch_package():
    """The kernel's package of this distribution, downloaded unless it is there; NoKernel without a way to the archive."""
    CACHE.mkdir(parents=True, exist_ok=True)
    present = sorted(CACHE.glob("linux-image-*.deb"), key=lambda path: path.stat().st_mtime)
    if present:
        return present[-1]
    depends = run("apt-cache", "depends", META_PACKAGE, text=True)
    name = next(line.split()[1] for line in depends.splitlines() if line.strip().startswith("Depends:"))
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        try:
            run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", name, cwd=scratch)
        except VmError as failure:
            raise NoKernel(f"{failure}; next step: apt-get update, or put the package into {CACHE}") from failure
        (package,) = Path(scratch).glob("*.deb")
        return Path(shutil.move(package, CACHE / package.name))


def extract_vmlinux(image):
    """The ELF file in a bzImage: started directly it saves the emulated processor seconds of decompression."""
    data = image.read_bytes()
    start = data.find(b"\xfd7zXZ\x00")
    while start >= 0:
        try:
            vmlinux = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(data[start:])
        except lzma.LZMAError:
            vmlinux = b""
        if vmlinux.startswith(b"\x7fELF"):
            return vmlinux
        start = data.find(b"\xfd7zXZ\x00", start + 1)
    raise VmError(f"{image}: no kernel compressed with xz inside")


def cpio_entry(name, mode, data=b""):
    """One file of a cpio archive, format newc."""
    encoded = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08x" % value for value in fields) + encoded
    return header + b"\0" * (-len(header) % 4) + data + b"\0" * (-len(data) % 4)


def make_initrd(modules, version):
    """busybox, the script `init`, and the modules without which there is no root, in the order in which they are loaded."""
    paths = []
    for module in ROOT_MODULES:
        shown = run("modprobe", "-d", modules, "-S", version, "--show-depends", module, text=True)
        paths += [Path(line.split()[1]) for line in shown.splitlines() if line.startswith("insmod")]
    paths = list(dict.fromkeys(paths))
    busybox = shutil.which("busybox")
    if not busybox:
        raise VmError("there is no busybox: deploy/setup installs it (busybox-static)")
    archive = b"".join(cpio_entry(folder, stat.S_IFDIR | 0o755) for folder in
                       ("bin", "proc", "sys", "dev", "m", "root", "ro", "rw"))
    archive += cpio_entry("bin/busybox", stat.S_IFREG | 0o755, Path(busybox).read_bytes())
    archive += cpio_entry("init", stat.S_IFREG | 0o755, (HERE / "init").read_bytes())
    for path in paths:
        archive += cpio_entry(f"m/{path.name}", stat.S_IFREG | 0o644, path.read_bytes())
    archive += cpio_entry("m/order", stat.S_IFREG | 0o644, "".join(f"{path.name}\n" for path in paths).encode())
    return archive + cpio_entry("TRAILER!!!", 0)


def prepare():
    """(folder, version) of kernel, initrd and modules; made on first use."""
    package = fetch_package()
    folder = CACHE / package.stem
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        run("dpkg-deb", "-x", package, folder / "package")
        (image,) = (folder / "package/boot").glob("vmlinuz-*")
        version = image.name.removeprefix("vmlinuz-")
        run("depmod", "-b", folder / "package", version)
        (folder / "vmlinux").write_bytes(extract_vmlinux(image))
        (folder / "ready").write_text(version)
    version = (folder / "ready").read_text()
    (folder / "initrd").write_bytes(make_initrd(folder / "package", version))
    return folder, version


def qemu_command(folder, out, cpus, memory):
    shares = [f"local,path=/,mount_tag=hostroot,security_model=none,readonly=on,multidevs=remap",
              f"local,path={out},mount_tag=out,security_model=none"]
    return ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", PROCESSOR, "-m", memory, "-smp", cpus,
            "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
            "-device", f"isa-debug-exit,iobase={DEBUG_EXIT_PORT},iosize=4",
            "-kernel", folder / "vmlinux", "-initrd", folder / "initrd",
            *(word for share in shares for word in ("-virtfs", share)),
            "-append", f"{KERNEL_OPTIONS} vm.modules={folder}/package vm.stage2={HERE / 'stage2'}"]


def boot(command, out, cpus=2, memory=3072, seconds=600):
    """Runs the command inside; its output appears on our standard output. Returns its exit status."""
    folder, _ = prepare()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(OVERDUE))  # not without taking the machine along
    script = f"cd {shlex.quote(os.getcwd())} && exec {shlex.join(map(str, command))}\n"
    (Path(out) / "command").write_text(script)
    machine = subprocess.Popen([str(word) for word in qemu_command(folder, out, cpus, memory)], text=True, errors="replace",
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    watchdog = subprocess.Popen(["sh", "-c", f"sleep {int(seconds)}; kill {machine.pid}"], start_new_session=True)
    try:
        for line in machine.stdout:
            print(line.rstrip("\r\n"), flush=True)
        status = machine.wait()
    finally:
        is_overdue = watchdog.poll() is not None
        if not is_overdue:
            os.killpg(watchdog.pid, 15)
        watchdog.wait()
        if machine.poll() is None:
            machine.kill()
    if is_overdue:
        return OVERDUE
    return status >> 1 if status & 1 else SILENT  # isa-debug-exit: value * 2 + 1; 0 = powered off without a word


def main():
    parser = argparse.ArgumentParser(description="Runs a command in a virtual machine with Debian's kernel and this machine's files.")
    parser.add_argument("--out", help="folder that is /out inside (default: a temporary one)")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--memory", type=int, default=3072, metavar="MIB")
    parser.add_argument("--seconds", type=int, default=600, help="then the machine is switched off")
    parser.add_argument("--prepare", action="store_true", help="only fetch and unpack the kernel")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vpnsip-vm-") as scratch:
        try:
            if options.prepare:
                prepare()
                return 0
            return boot(options.command or ["uname", "-a"], options.out or scratch, options.cpus, options.memory, options.seconds)
        except (VmError, OSError) as failure:
            print(f"vm: {failure}", file=sys.stderr)
            return SILENT


if __name__ == "__main__":
    sys.exit(main())
