"""What a sequence leaves beside the folders of its frames: a batch's files, in order, and sequence.glb."""

from pathlib import Path

from pipeline.batch.disk import CannotWrite
from pipeline.batch.files import write_run_files
from pipeline.batch.manifest import NAME as MANIFEST
from pipeline.batch.manifest import read_manifests
from pipeline.batch.summary import read_fit
from pipeline.outputs.whole_file import whole_file
from pipeline.sequence.frames import Footage

GLB = "sequence.glb"


def write_sequence_files(folder: Path, footage: Footage, parquet: bool = False) -> list[Path]:
    """Writes them anew, unless they are younger than the manifest.

    Raises:
        CannotWrite: the folder takes no files.
        ChainRigError: Parquet is asked for, and its package is missing.
    """
    paths = write_run_files(folder, parquet, [frame.name for frame in footage.frames], footage.fps)
    glb, manifest = folder / GLB, folder / MANIFEST
    old = not glb.exists() or glb.stat().st_mtime_ns <= manifest.stat().st_mtime_ns
    return [*paths, write_glb(folder, footage)] if paths or old else []


def write_glb(folder: Path, footage: Footage) -> Path:
    """A key for every frame with controls, fitted or bridged.

    Raises:
        CannotWrite: the folder takes no file.
    """
    from pipeline.rigs.fittable import fittable_rig
    from pipeline.sequence.animation import export_motion, performance_of

    known, documents = read_manifests(folder), []
    for frame in footage.frames:
        entry = known.get(frame.name)
        for face in entry.faces if entry is not None else ():
            document = read_fit(folder / frame.output / f"face-{face.index}")
            if document is not None and "controls" in document:
                documents.append((frame.place, document))
    first = documents[0][1]
    rig = fittable_rig(None if first["rig"] == "head_rig" else first["rig"], first["deformer"])
    looks = (document.get("appearance") for _, document in documents)
    colours = next((look["colours"] for look in looks if look), None)  # of the first frame that has some
    data = export_motion(rig, performance_of(rig, documents, footage.fps), first["identity"], colours)
    with CannotWrite.told(folder), whole_file(folder / GLB) as draft:
        draft.write_bytes(data)
    return folder / GLB
