from pipeline.sources.image_units import image_units
from pipeline.sources.walk import FoundFile


def _found(folder, name, content=b"", kind="nifti"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return FoundFile(path, name, len(content), 0, kind)


def _names(units, folder):
    return [(unit.job, *(path.removeprefix(f"{folder}/") for path in unit.paths)) for unit in units]


def test_header_and_voxels_are_one_unit_in_this_order(tmp_path):
    names = ["x/a.img", "x/a.hdr", "x/B.IMG", "x/B.HDR", "c.img.gz", "c.hdr.gz", "single.nii.gz"]
    units, refusals = image_units([_found(tmp_path, name) for name in names])
    assert _names(units, tmp_path) == [
        ("nifti", "x/a.hdr", "x/a.img"),
        ("nifti", "x/B.HDR", "x/B.IMG"),
        ("nifti", "c.hdr.gz", "c.img.gz"),
        ("nifti", "single.nii.gz"),
    ]
    assert refusals == []


def test_half_of_a_pair_is_refused(tmp_path):
    files = [_found(tmp_path, "a.hdr"), _found(tmp_path, "b.img"), _found(tmp_path, "other/a.img")]
    units, refusals = image_units(files)
    assert units == []
    assert [refusal.outcome for refusal in refusals] == ["quarantined"] * 3
    assert "voxels (.img) is not there" in refusals[0].reason
    assert "header (.hdr) is not there" in refusals[1].reason


def test_pair_of_which_one_half_is_there_twice_is_refused(tmp_path):
    files = [_found(tmp_path, name) for name in ("a.hdr", "a.img", "a.img.gz")]
    units, refusals = image_units(files)
    assert units == []
    assert {refusal.reason.split(") ")[-1] for refusal in refusals} == {"is there 2 times"}
    assert len(refusals) == 3


def test_other_half_is_found_among_files_that_did_not_change(tmp_path):
    header, voxels = _found(tmp_path, "a.hdr"), _found(tmp_path, "a.img")
    units, _ = image_units([header], {str(voxels.path): voxels})
    assert _names(units, tmp_path) == [("nifti", "a.hdr", "a.img")]


NHDR = b"NRRD0004\ntype: short\ndimension: 1\nsizes: 4\nendian: little\nencoding: raw\ndata file: %s\n\n"


def test_detached_data_files_join_their_header_whatever_their_kind(tmp_path):
    data = [_found(tmp_path, f"s{n}.raw", kind="other") for n in range(3)]
    header = _found(tmp_path, "a.nhdr", NHDR % b"s%d.raw 0 2 1", "nrrd")
    units, refusals = image_units([header], {str(one.path): one for one in data})
    assert _names(units, tmp_path) == [("nrrd", "a.nhdr", "s0.raw", "s1.raw", "s2.raw")]
    assert refusals == []


def test_data_file_that_looks_like_a_scan_is_none_of_its_own(tmp_path):
    data = _found(tmp_path, "a.nii.gz")
    header = _found(tmp_path, "z.nhdr", NHDR % b"a.nii.gz", "nrrd")
    units, refusals = image_units([data, header])
    assert _names(units, tmp_path) == [("nrrd", "z.nhdr", "a.nii.gz")]
    assert refusals == []


def test_detached_data_that_are_missing_or_elsewhere_are_refused(tmp_path):
    files = [
        _found(tmp_path, "a.nhdr", NHDR % b"gone.raw", "nrrd"),
        _found(tmp_path, "b.nhdr", NHDR % b"../../etc/passwd", "nrrd"),
    ]
    units, refusals = image_units(files)
    assert units == []
    assert "is not there" in refusals[0].reason
    assert "outside of its own folder" in refusals[1].reason


def test_broken_nrrd_header_goes_to_the_loader_and_pictures_stand_alone(tmp_path):
    files = [_found(tmp_path, "a.nrrd", b"nothing", "nrrd"), _found(tmp_path, "b.png", kind="picture")]
    units, _ = image_units(files)
    assert _names(units, tmp_path) == [("nrrd", "a.nrrd"), ("picture", "b.png")]
