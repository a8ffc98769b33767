"""Compiles the kernels here to PTX, as the tests load it.

    python3 -m venv venv
    venv/bin/pip install nvidia-cuda-nvrtc==13.0.88 nvidia-cuda-runtime nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl
    venv/bin/python compile.py
"""

import ctypes
import pathlib
import re

import nvidia

HERE = pathlib.Path(__file__).parent
TOOLKIT = next(pathlib.Path(p) / "cu13" for p in nvidia.__path__ if (pathlib.Path(p) / "cu13").exists())

ctypes.CDLL(str(TOOLKIT / "lib/libnvrtc-builtins.so.13.0"), mode=ctypes.RTLD_GLOBAL)
nvrtc = ctypes.CDLL(str(TOOLKIT / "lib/libnvrtc.so.13"))


def text(program, size, get):
    length = ctypes.c_size_t()
    size(program, ctypes.byref(length))
    buffer = ctypes.create_string_buffer(length.value)
    get(program, buffer)
    return buffer.value.decode()


for source in sorted(HERE.glob("*.cu")):
    program = ctypes.c_void_p()
    code = source.read_text().encode()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), code, source.name.encode(), 0, None, None)
    options = ["--gpu-architecture=compute_80", "--std=c++17", "-lineinfo", f"--include-path={TOOLKIT}/include"]
    options = (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
    if nvrtc.nvrtcCompileProgram(program, len(options), options):
        raise SystemExit(text(program, nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog))
    ptx = text(program, nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX)
    # Names of files without the folders of this machine.
    ptx = re.sub(r'(\.file\s+\d+\s+")[^"]*/', r"\1", ptx)
    source.with_suffix(".ptx").write_text(ptx)
