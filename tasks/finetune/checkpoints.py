"""Checkpoints of a training without pickles: what a killed run left is gone on from to the same bytes.

TRL's trainers save optimizer and random state as pickles; here they are safetensors and JSON. A checkpoint counts once
its `whole.json` is there, written last; whatever else a killed run left is removed.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

from ragkeep.errors import ModelError
from ragkeep.files import fsync_dir, fsync_file, read_json, write_json
from ragkeep.models import sha256

WHOLE = "whole.json"
_OPTIMIZER, _RANDOM, _STATE = "optimizer.safetensors", "random.safetensors", "ragkeep_state.json"


class Keeping:
    """Mixed into a trainer of TRL, before it: the four places where pickles would be written or read."""

    def _save_optimizer_and_scheduler(self: Any, output_dir: str) -> None:
        from safetensors.torch import save_file

        state = self.optimizer.state_dict()
        tensors, numbers = {}, {}
        for index, entry in state["state"].items():
            for key, value in entry.items():
                if hasattr(value, "contiguous"):
                    tensors[f"{index}.{key}"] = value.contiguous()
                else:
                    numbers[f"{index}.{key}"] = value
        save_file(tensors, str(Path(output_dir) / _OPTIMIZER))
        groups = [{k: v for k, v in group.items() if k != "params"} for group in state["param_groups"]]
        scheduler = {k: v for k, v in self.lr_scheduler.state_dict().items() if _plain(v)}
        write_json(Path(output_dir) / _STATE, {
            "numbers": numbers, "groups": [{k: v for k, v in g.items() if _plain(v)} for g in groups],
            "params": [group["params"] for group in state["param_groups"]], "scheduler": scheduler,
        })  # fmt: skip

    def _load_optimizer_and_scheduler(self: Any, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        from safetensors.torch import load_file

        kept = read_json(Path(checkpoint) / _STATE)
        state: dict[int, dict[str, Any]] = {}
        tensors = load_file(str(Path(checkpoint) / _OPTIMIZER))
        for name, value in [*tensors.items(), *kept["numbers"].items()]:
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = value
        groups = []
        for now, then, params in zip(
            self.optimizer.state_dict()["param_groups"], kept["groups"], kept["params"], strict=True
        ):
            betas = {"betas": tuple(then["betas"])} if "betas" in then else {}  # JSON knows no tuples
            groups.append({**now, **then, **betas, "params": params})
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.lr_scheduler.load_state_dict(kept["scheduler"])

    def _save_rng_state(self: Any, output_dir: str) -> None:
        import numpy as np
        import torch
        from safetensors.torch import save_file

        Path(output_dir).mkdir(parents=True, exist_ok=True)
        states = {"cpu": torch.random.get_rng_state()}
        if torch.cuda.is_available():
            states["cuda"] = torch.cuda.random.get_rng_state()
        _, keys, at, gauss, cached = np.random.get_state(legacy=True)
        states["numpy"] = torch.from_numpy(np.asarray(keys, np.int64))
        save_file(states, str(Path(output_dir) / _RANDOM))
        version, numbers, gauss_next = random.getstate()
        write_json(Path(output_dir) / "random.json", {
            "numpy": [int(at), int(gauss), float(cached)], "python": [version, list(numbers), gauss_next],
        })  # fmt: skip

    def _load_rng_state(self: Any, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        import numpy as np
        import torch
        from safetensors.torch import load_file

        states, kept = load_file(str(Path(checkpoint) / _RANDOM)), read_json(Path(checkpoint) / "random.json")
        version, numbers, gauss_next = kept["python"]
        random.setstate((version, tuple(numbers), gauss_next))
        np.random.set_state(("MT19937", states["numpy"].numpy().astype(np.uint32), *kept["numpy"]))
        torch.random.set_rng_state(states["cpu"])
        if "cuda" in states and torch.cuda.is_available():
            torch.cuda.random.set_rng_state(states["cuda"])

    def _save_checkpoint(self: Any, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)  # type: ignore[misc]
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle that nothing reads
        for path in folder.iterdir():
            if path.is_file():
                fsync_file(path)
        write_json(
            folder / WHOLE, {"step": self.state.global_step, "sha256": sha256(folder / "adapter_model.safetensors")}
        )
        fsync_dir(folder.parent)


def _plain(value: Any) -> bool:
    return isinstance(value, int | float | str | bool | list | tuple | None)


def last(folder: Path) -> Path | None:
    """Find the last whole checkpoint; remove those that are not. Raises ModelError for one that was altered."""
    found = [path for path in folder.glob("checkpoint-*") if path.name.rpartition("-")[2].isdecimal()]
    whole = [path for path in found if (path / WHOLE).is_file()]
    for path in found:
        if path not in whole:
            shutil.rmtree(path)
    if not whole:
        return None
    newest = max(whole, key=lambda path: int(path.name.rpartition("-")[2]))
    if read_json(newest / WHOLE)["sha256"] != sha256(newest / "adapter_model.safetensors"):
        raise ModelError(f"{newest} is not what was saved: remove it to go on from an earlier one")
    return newest
