#!/usr/bin/env bash
# One would guess: a loop with warp_specialize=True gets warps of its own for its copies, or an error says why not. The
# number of warps that compute is for the author to choose: 8 for a tile of 128 x 256, as without it.
# True (Triton 3.7.1, compute capability 9.0): a product through tensor descriptors is specialised with num_warps=4, and
# its blocks have 384 threads. With num_warps=8 the keyword is dropped without a word: 256 threads, no setmaxnreg.
# Seen: 4 warps 128 threads without and 384 with the keyword, 8 warps 256 threads either way.
# Who meets it: who writes or tunes persistent products for Hopper. Among the configurations of an autotuner, those with
# 8 warps measure the plain kernel under the name of the specialised one.
# What to do: read .reqntid or setmaxnreg in the compiled kernel's PTX before a comparison is believed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check triton==3.7.1
cat >"$folder/product.py" <<'EOF'
import re

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource


@triton.jit
def product(A, B, C, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, SPECIAL: tl.constexpr):
    a = tl.make_tensor_descriptor(A, shape=[M, K], strides=[K, 1], block_shape=[BM, BK])
    b = tl.make_tensor_descriptor(B, shape=[N, K], strides=[K, 1], block_shape=[BN, BK])
    c = tl.make_tensor_descriptor(C, shape=[M, N], strides=[N, 1], block_shape=[BM, BN])
    columns = tl.cdiv(N, BN)
    for tile in tl.range(tl.program_id(0), tl.cdiv(M, BM) * columns, 132, warp_specialize=SPECIAL):
        m, n = tile // columns * BM, tile % columns * BN
        total = tl.zeros((BM, BN), dtype=tl.float32)
        for step in range(tl.cdiv(K, BK)):
            total = tl.dot(a.load([m, step * BK]), b.load([n, step * BK]).T, total)
        c.store([m, n], total.to(tl.bfloat16))


def threads(columns, warps, special):
    types = {**dict.fromkeys("ABC", "*bf16"), **dict.fromkeys("MNK", "i32")}
    types |= dict.fromkeys(("BM", "BN", "BK", "SPECIAL"), "constexpr")
    aligned = {(i,): [["tt.divisibility", 16]] for i in range(6)}
    constants = {"BM": 128, "BN": columns, "BK": 64, "SPECIAL": special}
    source = ASTSource(product, types, constants, aligned)
    options = {"num_warps": warps, "num_stages": 3}
    text = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["ptx"]
    return int(re.search(r"\.reqntid (\d+)", text)[1]), "setmaxnreg" in text


found = {(n, warps, on): threads(n, warps, on) for n, warps in ((128, 4), (128, 8), (256, 8)) for on in (False, True)}
for (n, warps, on), (count, adjusts) in found.items():
    print(f"Triton {triton.__version__}: 128x{n}, {warps} warps, warp_specialize={on}: {count} threads, setmaxnreg {adjusts}")
assert found[128, 4, False] == (128, False) and found[128, 4, True] == (384, True)
assert all(found[n, 8, on] == (256, False) for n in (128, 256) for on in (False, True))
EOF
"$folder/venv/bin/python" "$folder/product.py"
