"""Everything on a CUDA device, in a process of its own: what the pretended one changes in torch is not to be undone."""

import os
import subprocess
import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent


def test_everything_on_a_device():
    """The tests of on_device.py and on_pretended_device.py: on a pretended device, or on a real one where there is one."""
    path = os.pathsep.join([str(HERE / "pretend"), *filter(None, [os.environ.get("PYTHONPATH")])])
    pretence = {} if torch.cuda.is_available() else {"NIBKIT_PRETEND_CUDA": "1", "PYTHONPATH": path}
    files = [str(HERE / name) for name in ("on_device.py", "on_pretended_device.py")]
    command = [sys.executable, "-m", "pytest", *files, "-q", "-p", "no:cacheprovider", "--durations=5"]
    done = subprocess.run(command, cwd=HERE.parent, env=os.environ | pretence, capture_output=True, text=True)
    print(done.stdout[-2000:])
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split(" passed")[0].split()[-1]) >= 35  # 45 with those that look at the pretence
