"""Before anything of ours is imported: one thread a process, and shapes in signatures are checked."""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from jaxtyping import install_import_hook  # noqa: E402

# The hook rewrites modules as they are imported: every annotated call in these packages, and every array
# shape, is then checked by beartype. It stays for the whole test session.
install_import_hook(["vlmq.loss", "vlmq.model"], "beartype.beartype")
