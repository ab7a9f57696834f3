"""A model from the Hugging Face hub: from this machine where it is there, else fetched, or one line that says why it can't be."""

from __future__ import annotations

import threading
from pathlib import Path

PATIENCE = 8.0  # seconds to wait for the hub's first answer; the library's own retries take 30
_WANTED = ("*.json", "merges.txt", "vocab.txt")


def from_hub(name: str) -> Path:
    """The folder of a hub model, downloaded if it must be; within 10 s a one-line FileNotFoundError if it can't be had."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return _complete(
            Path(snapshot_download(name, local_files_only=True, allow_patterns=[*_WANTED, "*.safetensors", "*.bin"]))
        )
    except HFValidationError as error:
        raise FileNotFoundError(f"there is no folder {name!r}, and it is no hub name either") from error
    except (LocalEntryNotFoundError, FileNotFoundError):
        pass
    answer: list = []

    def ask() -> None:
        try:
            answer.append({file.rfilename for file in HfApi().model_info(name, timeout=PATIENCE).siblings or []})
        except Exception as error:  # any failure means the same to the reader: the model can't be had now
            answer.append(error)

    thread = threading.Thread(target=ask, daemon=True)  # name resolution has no time-out of its own
    thread.start()
    thread.join(PATIENCE)
    files = answer[0] if answer else TimeoutError("no answer")
    if isinstance(files, GatedRepoError):
        raise FileNotFoundError(f"{name} asks for a licence to be accepted: do so on its page, log in to the hub, and call again")
    if isinstance(files, RepositoryNotFoundError):
        raise FileNotFoundError(f"there is no folder {name!r} and no such model on the hub: check the spelling")
    if isinstance(files, Exception):
        raise FileNotFoundError(
            f"{name} is not on this machine and the model hub can't be reached: "
            'connect once and call again, or give a local folder that has the model (or use the bundled "shapes")'
        ) from files
    weights = "model.safetensors" if "model.safetensors" in files else "pytorch_model.bin"  # read with weights_only either way
    try:
        return Path(snapshot_download(name, allow_patterns=[*_WANTED, weights]))
    except OSError as error:  # every error of the network is one
        first = str(error).splitlines()[0]
        raise FileNotFoundError(f"{name} could not be downloaded ({first}): call again, what is there already is kept") from error


def _complete(folder: Path) -> Path:
    """The folder, if the interrupted download of another day has left everything that is needed."""
    if not (folder / "config.json").exists() or not (any(folder.glob("*.safetensors")) or any(folder.glob("*.bin"))):
        raise FileNotFoundError(folder)
    return folder
