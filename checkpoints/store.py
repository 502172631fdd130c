"""Checkpoints of nested dicts of arrays, written by Orbax: asynchronous, atomic and checked leaf by leaf.

A checkpoint is written to a temporary folder that gets its name when it is complete: a process killed at any moment
leaves none half written. Beside the arrays lies a manifest with the dtype, shape and CRC-32 of every leaf, so
that restoring notices what happened to the files since, and tells it from a checkpoint of another model.
"""

import enum
import json
import os
import shutil
import zlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, Self

import jax
import numpy as np
from absl import logging

from checkpoints.quiet import cause, quieten

Tree = Mapping[str, Any]


class CheckpointMismatch(ValueError):
    """The checkpoint is sound, but of another model than the one it was to be restored into."""


class CheckpointDamaged(RuntimeError):
    """The checkpoint cannot be read, or holds something else than was saved."""


class CheckpointNotSaved(RuntimeError):
    """The checkpoint could not be written; those that were saved before are as they were."""


class Store:
    """The checkpoints in one folder, by step: the newest `keep`, and for ever those divisible by `keep_period`.

    Those in `keep_steps` are kept for ever as well.

    Trees are nested dicts with string keys whose leaves are arrays or numbers. With several processes all of them
    call every method, with equal trees; process 0 writes, to a folder that all can read. A folder has one
    writer at a time; `read_only` stores may look on, and create nothing.
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        *,
        keep: int = 3,
        keep_period: int | None = None,
        keep_steps: Collection[int] = (),
        read_only: bool = False,
    ):
        import orbax.checkpoint as ocp  # here, because it takes most of a second
        from etils import epath

        quieten()
        self.directory = epath.Path(directory).resolve()
        self.read_only = read_only
        self._ocp = ocp
        if read_only:
            options = {"create": False}
        else:
            managers = ocp.checkpoint_managers
            policies = [managers.LatestN(keep), managers.CustomSteps(keep_steps)]
            if keep_period is not None:
                policies.append(managers.EveryNSteps(keep_period))
            policy = managers.AnyPreservationPolicy(policies)
            options = {"preservation_policy": policy, "cleanup_tmp_directories": True}
        # lightweight_initialize: one damaged checkpoint must not make the whole folder unreadable
        options = ocp.CheckpointManagerOptions(lightweight_initialize=True, **options)
        self._manager = ocp.CheckpointManager(self.directory, options=options)
        self._saving: int | None = None
        self._failed: int | None = None

    def save(self, step: int, tree: Tree, metadata: dict | None = None, *, force: bool = False) -> None:
        """Saves in the background; `tree` is copied before this returns, so its buffers may be donated.

        `metadata` is JSON. A step that already holds the same is left alone; one that holds something else is a
        FileExistsError, unless it is damaged or `force` is given: then it is deleted first. Where the previous save
        has failed, CheckpointNotSaved says why.
        """
        if self.read_only:
            raise ValueError(f"the store of {self.directory} was opened with read_only=True")
        self.wait()
        self._saving = step
        _flatten(tree)  # refuses what cannot be saved
        tree = jax.tree.map(np.asarray, jax.device_get(tree))  # Orbax copies NumPy arrays before it returns
        manifest = _manifest(tree, metadata or {})
        verdict = self._verdict(step, manifest, force)
        if verdict is Verdict.HELD:
            return
        if verdict is Verdict.OTHER:
            raise FileExistsError(f"{self.directory} holds another checkpoint of step {step}; force=True replaces it")
        if verdict is Verdict.REPLACE:
            self._writing(lambda: self._manager.delete(step))
        args = self._ocp.args
        # force: whether to save now was the caller's decision
        composite = args.Composite(state=args.StandardSave(tree), manifest=args.JsonSave(manifest))
        self._writing(lambda: self._manager.save(step, args=composite, force=True))

    def restore(
        self, template: Tree | None = None, step: int | None = None, *, partial: bool = False
    ) -> tuple[int, dict, dict] | None:
        """`(step, tree, metadata)` of the newest sound checkpoint, or of `step`; None where there is none yet.

        Leaves are NumPy arrays, bit for bit as saved. `template` is a tree of arrays or ShapeDtypeStructs: a
        checkpoint whose names, shapes or dtypes differ from it is a CheckpointMismatch; with `partial` only the
        template's outermost keys are compared and returned. A damaged one is passed over with a warning, and another
        says which is taken in its place; CheckpointDamaged if all are, or if `step` is. FileNotFoundError where `step`
        is not.
        """
        self.wait()
        steps = self.steps()
        if step is not None and step not in steps:
            raise FileNotFoundError(f"no checkpoint of step {step} in {self.directory}; there are {steps}")
        if not steps:
            return None
        last: Exception | None = None
        for candidate in reversed(steps) if step is None else [step]:
            try:
                manifest, tree = self._read(candidate, template, partial)
            except CheckpointMismatch:
                raise
            except Exception as error:  # damage comes as any error of Orbax, TensorStore, JSON or the disk
                logging.warning("the checkpoint %s is damaged: %s", self.directory / str(candidate), cause(error))
                last = error
            else:
                if last:
                    logging.warning("the checkpoint of step %s is taken in its place", candidate)
                return candidate, tree, manifest["metadata"]
        assert last is not None  # of the first candidate, at least
        which, mend = f"the checkpoint of step {step}", "take another step, or put back a copy of this one"
        if step is None:
            which, mend = "every checkpoint", "put back a copy of one, or move this folder away and begin the run anew"
        raise CheckpointDamaged(
            f"{which} in {self.directory} is damaged; there are {steps}; {mend} (reading failed with: {cause(last)})"
        ) from last

    def steps(self) -> list[int]:
        """The steps on disk, ascending; one still being saved is not yet among them."""
        return sorted(self._ocp.utils.checkpoint_steps(self.directory))

    def metadata(self, step: int) -> dict:
        """The metadata of a step; empty if it cannot be read, which `restore` then says."""
        try:
            return self._read_manifest(step)["metadata"]
        except Exception:  # damage comes as any error of Orbax, JSON or the disk
            return {}

    def latest_step(self) -> int | None:
        """The newest step on disk, sound or not."""
        return max(self.steps(), default=None)

    def wait(self) -> None:
        """Returns once nothing is being saved any more; CheckpointNotSaved if that failed."""
        self._writing(self._manager.wait_until_finished)

    def close(self) -> None:
        """Waits, as `wait` does, then frees the threads."""
        self._writing(self._manager.close)
        if self._failed is not None:
            self._remove_unfinished()  # again: some writes were in flight when the first of them failed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _writing(self, act: Callable[[], object]) -> None:
        """Say in one line what made a save fail, and remove what it had written."""
        try:
            act()
        except Exception as error:  # it comes as any error of Orbax, TensorStore or the disk
            self._failed = self._saving
            self._end_writes()
            self._remove_unfinished()
            raise CheckpointNotSaved(
                f"the checkpoint of step {self._saving} could not be saved in {self.directory}: {cause(error)}; "
                f"saved are {self.steps()}"
            ) from error

    def _end_writes(self) -> None:
        """Wait until what a failed save has in flight has ended, well or badly.

        Orbax writes the facts of a step in a queue of its own. What is still in it when the step's folder is removed
        fails, and would be reported as a failure of the next save.
        """
        queue = getattr(self._manager, "_non_blocking_metadata_store", None)
        while queue is not None:
            try:
                queue.wait_until_finished()
            except Exception as error:  # each of them is raised once
                logging.info("and so could not be written: %s", cause(error))
            else:
                return

    def _remove_unfinished(self) -> None:
        if jax.process_index() == 0:
            for unfinished in self.directory.glob(f"{self._failed}.*tmp*"):
                shutil.rmtree(unfinished, ignore_errors=True)

    def _read(self, step: int, template: Tree | None = None, partial: bool = False) -> tuple[dict, dict]:
        """The manifest and the tree of a step, each compared with its checksum."""
        args, manifest = self._ocp.args, self._read_manifest(step)
        if template is not None:
            saved = manifest["leaves"]
            if partial:
                saved = {name: leaf for name, leaf in saved.items() if name.split(".")[0] in template}
            _check_template(template, saved, f"the checkpoint of step {step} in {self.directory}")
        tree = self._manager.restore(step, args=args.Composite(state=args.StandardRestore())).state
        if _manifest(tree, manifest["metadata"]) != manifest:
            raise CheckpointDamaged("its arrays do not match their checksums")
        if partial:
            tree = {key: value for key, value in tree.items() if key in (template or {})}
        return manifest, tree

    def _read_manifest(self, step: int) -> dict:
        args = self._ocp.args
        manifest = self._manager.restore(step, args=args.Composite(manifest=args.JsonRestore())).manifest
        if manifest["crc32"] != _crc_of_json(manifest["leaves"], manifest["metadata"]):
            raise CheckpointDamaged("its manifest does not match its checksum")
        return manifest

    def _verdict(self, step: int, manifest: dict, force: bool) -> "Verdict":
        """What saving `step` means. Process 0 looks and tells the others: they would look when it has already begun."""
        from jax.experimental import multihost_utils

        verdict = self._look(step, manifest, force) if jax.process_index() == 0 else Verdict.NEW
        return Verdict(int(multihost_utils.broadcast_one_to_all(np.int32(verdict))))

    def _look(self, step: int, manifest: dict, force: bool) -> "Verdict":
        if step not in self.steps():
            return Verdict.NEW
        if force:
            return Verdict.REPLACE
        try:
            saved, _ = self._read(step)
        except Exception as error:
            logging.warning("replacing the damaged checkpoint %s: %s", self.directory / str(step), cause(error))
            return Verdict.REPLACE
        return Verdict.HELD if saved == manifest else Verdict.OTHER


class Verdict(enum.IntEnum):
    """What a step is to a store that is asked to save it."""

    NEW = 0
    HELD = 1
    OTHER = 2
    REPLACE = 3


def _flatten(tree: Tree, prefix: str = "") -> dict[str, Any]:
    """{"outer.inner": leaf}."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        name = prefix + key
        if isinstance(value, Mapping):
            found = _flatten(value, name + ".")
        elif value is None or isinstance(value, str | list | tuple):
            raise TypeError(f"checkpoint leaf {name!r} must be an array or a number, not a {type(value).__name__}")
        else:
            found = {name: value}
        if clash := leaves.keys() & found.keys():
            raise ValueError(f"two leaves of the checkpoint have the name {clash.pop()!r}")
        leaves |= found
    return leaves


def _spec(leaf: Any) -> str:
    """Such as "float32[3,4]"."""
    if not hasattr(leaf, "dtype"):
        leaf = np.asarray(leaf)
    return f"{np.dtype(leaf.dtype).name}[{','.join(map(str, leaf.shape))}]"


def _manifest(tree: Tree, metadata: dict) -> dict:
    """Per leaf its spec and CRC-32; the metadata; and the CRC-32 of both."""
    leaves = {
        name: [_spec(leaf), zlib.crc32(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data)]
        for name, leaf in _flatten(tree).items()
    }
    metadata = json.loads(json.dumps(metadata))  # as it will be read
    return {"leaves": leaves, "metadata": metadata, "crc32": _crc_of_json(leaves, metadata)}


def _crc_of_json(*values: Any) -> int:
    return zlib.crc32(json.dumps(values, sort_keys=True).encode())


def _check_template(template: Tree, saved: dict[str, list], what: str) -> None:
    """Raises CheckpointMismatch where names, shapes or dtypes of the template are not those that were saved."""
    wanted = {name: _spec(leaf) for name, leaf in _flatten(template).items()}
    specs = {name: spec for name, (spec, _) in saved.items()}
    differing = [name for name in sorted(wanted | specs) if wanted.get(name) != specs.get(name)]
    if differing:
        shown = "; ".join(
            f"{name}: saved {specs.get(name, 'nothing')}, wanted {wanted.get(name, 'nothing')}"
            for name in differing[:3]
        )
        more = "; ..." if len(differing) > 3 else ""
        raise CheckpointMismatch(f"{what} is of another model: {len(differing)} leaves differ: {shown}{more}")
