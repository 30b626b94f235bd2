"""Which paths are trusted."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from file_modes import file, folder
from hypothesis import example, given
from hypothesis import strategies as st
from other_user import STRANGER, as_stranger, needs_root, public_folder

from cascade.adapters.trusted_paths import (
    Entry,
    ThisUser,
    UntrustedPath,
    private_file,
    trusted_file,
    why_untrusted,
)

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files without owners")

# -- the rule ----------------------------------------------------------------------------------------------------

ME, FRIEND, OTHER = 1000, 1001, 1002
PRIVATE, COMMON = 1000, 100
MEMBERS = {0: {0}, PRIVATE: {ME}, COMMON: {ME, FRIEND}}


@attrs.frozen
class Me:
    """A user in a small world."""

    uid: int = ME

    def is_alone_in(self, group: int) -> bool:
        return MEMBERS[group] == {self.uid}


def can_change(user: int, entry: Entry) -> bool:
    """Whether *user* can write to *entry*, or let itself do so, as systems decide it."""
    if user == entry.owner:
        return True  # who may change the mode
    bit = stat.S_IWGRP if user in MEMBERS[entry.group] else stat.S_IWOTH
    return bool(entry.mode & bit) or bool(entry.has_list and entry.mode & stat.S_IWGRP)


entries = st.builds(
    Entry,
    owner=st.sampled_from((0, ME, FRIEND, OTHER)),
    group=st.sampled_from(tuple(MEMBERS)),
    mode=st.sampled_from((stat.S_IFREG, stat.S_IFDIR)).flatmap(
        lambda kind: st.integers(0, 0o7777).map(lambda bits: kind | bits)
    ),
    has_list=st.booleans(),
)


@given(entries)
@example(Entry(ME, PRIVATE, stat.S_IFREG | 0o664))
@example(Entry(ME, PRIVATE, stat.S_IFREG | 0o664, has_list=True))
@example(Entry(0, 0, stat.S_IFDIR | 0o1777))
def test_an_entry_is_trusted_just_if_nobody_but_its_user_and_root_can_change_it(entry: Entry) -> None:
    others = [user for user in (FRIEND, OTHER) if can_change(user, entry)]
    assert (why_untrusted(entry, Me()) is None) == (not others)


@given(entries)
def test_a_sticky_folder_on_the_way_needs_only_a_trusted_owner(entry: Entry) -> None:
    why = why_untrusted(entry, Me(), may_be_sticky=True)
    if entry.mode & stat.S_ISVTX:
        assert (why is None) == (entry.owner in (0, ME))
    else:
        assert why == why_untrusted(entry, Me())


@given(st.sampled_from((0, ME, FRIEND)), st.sampled_from((0o777, 0o755)))
def test_of_a_link_only_the_owner_counts(owner: int, mode: int) -> None:
    why = why_untrusted(Entry(owner, COMMON, stat.S_IFLNK | mode), Me())
    assert (why is None) == (owner in (0, ME))


# -- the way to a file -------------------------------------------------------------------------------------------


def linked(path: Path, target: str | Path) -> Path:
    path.symlink_to(target)
    return path


# Each makes something in an empty folder and returns the path of a file.
TRUSTED: dict[str, Callable[[Path], Path]] = {
    "a new file": lambda at: at / "x.db",
    "a file that others may read": lambda at: file(at / "x.db", 0o644),
    "below a sticky folder": lambda at: folder(folder(at / "tmp", 0o1777) / "mine", 0o700) / "x.db",
    "a link of one's own": lambda at: linked(at / "x.db", file(at / "y.db")),
    "a link to a free name": lambda at: linked(at / "x.db", at / "y.db"),
    "a link to a folder": lambda at: linked(at / "link", folder(at / "there", 0o700)) / "x.db",
    "up and down": lambda at: folder(at / "there", 0o700) / ".." / "x.db",
    "up from where a link leads": lambda at: (
        linked(at / "link", folder(folder(at / "there", 0o700) / "deep", 0o700)) / ".." / "x.db"
    ),
}

UNTRUSTED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a folder for everybody": (lambda at: folder(at / "f", 0o777) / "x.db", "folder .*mode 0777.* by everybody"),
    "above it": (
        lambda at: folder(folder(at / "f", 0o777) / "mine", 0o700) / "x.db",
        "/f'.*mode 0777.*chmod go-w .*/f`",
    ),
    "a sticky folder itself": (
        lambda at: folder(at / "tmp", 0o1777) / "x.db",
        "/tmp'.*mode 1777.*; take a place in a folder of",
    ),
    "a file for everybody": (lambda at: file(at / "x.db", 0o606), r"file .*x\.db.*mode 0606.* by everybody"),
    "beside it": (
        lambda at: file(file(at / "x.db").with_name("x.db-wal"), 0o666).with_name("x.db"),
        "x.db-wal.* by everybody",
    ),
    "its journal": (
        lambda at: file(file(at / "x.db").with_name("x.db-journal"), 0o666).with_name("x.db"),
        "x.db-journal.* by everybody",
    ),
    "a link in a sticky folder": (
        lambda at: linked(folder(at / "tmp", 0o1777) / "link", folder(at / "f", 0o700)) / "x.db",
        "/tmp'.*mode 1777",
    ),
    "a link out of a good folder": (
        lambda at: linked(at / "link", folder(at / "f", 0o777)) / "x.db",
        "/f'.*mode 0777",
    ),
    "a link that is a file": (
        lambda at: linked(at / "x.db", folder(at / "f", 0o777) / "x.db"),
        "/f'.*mode 0777",
    ),
    "a place in a folder reached by a link and up": (
        lambda at: (
            linked(at / "link", folder(folder(folder(at / "f", 0o777) / "g", 0o700) / "h", 0o700)) / ".." / "x.db"
        ),
        "/f'.*mode 0777",
    ),
}


@pytest.mark.parametrize("name", TRUSTED)
def test_what_only_this_user_can_change_is_trusted(tmp_path: Path, name: str) -> None:
    path = TRUSTED[name](tmp_path)
    found = trusted_file(str(path))
    assert os.path.samefile(found, path)
    assert found == str(path.resolve())


@pytest.mark.parametrize("name", UNTRUSTED)
def test_what_others_can_change_is_refused_with_place_mode_and_remedy(tmp_path: Path, name: str) -> None:
    make, said = UNTRUSTED[name]
    path = make(tmp_path)
    for refusing in (trusted_file, private_file):
        with pytest.raises(UntrustedPath, match=f"{said}|link .*is no plain file"):
            refusing(str(path))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_one_bad_folder_on_the_way_is_enough_wherever_it_is(tmp_path: Path, depth: int) -> None:
    places = [tmp_path.joinpath(*"abc"[:length]) for length in range(1, 4)]
    for place in places:
        folder(place, 0o755)
    trusted_file(str(places[-1] / "x.db"))
    places[depth - 1].chmod(0o757)
    with pytest.raises(UntrustedPath, match="mode 0757"):
        trusted_file(str(places[-1] / "x.db"))


def test_a_relative_path_is_judged_from_the_root_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder(folder(tmp_path / "f", 0o777) / "mine", 0o700))
    with pytest.raises(UntrustedPath, match="mode 0777"):
        trusted_file("x.db")
    (tmp_path / "f").chmod(0o700)
    assert trusted_file("./x.db") == str(tmp_path / "f/mine/x.db")


def test_a_circle_of_links_is_an_error(tmp_path: Path) -> None:
    path = linked(linked(tmp_path / "one", "two").with_name("two"), "one")
    with pytest.raises(OSError, match=r".") as caught:
        trusted_file(str(path))
    assert caught.value.errno == errno.ELOOP


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(UntrustedPath, match="no plain file"):
        trusted_file(str(tmp_path / "pipe"))
    for path in (tmp_path, tmp_path / "..", "/"):
        with pytest.raises(IsADirectoryError):
            trusted_file(str(path))
    with pytest.raises(FileNotFoundError):
        trusted_file(str(tmp_path / "no/such.db"))
    with pytest.raises(NotADirectoryError):
        trusted_file(str(file(tmp_path / "file") / "x.db"))


def test_a_file_that_is_only_looked_at_is_not_made(tmp_path: Path) -> None:
    assert trusted_file(str(tmp_path / "x.db"), makes=False) == str(tmp_path / "x.db")
    assert os.listdir(tmp_path) == []


def test_an_access_list_that_lets_another_user_write_counts(tmp_path: Path) -> None:
    path = file(tmp_path / "x.db", 0o660)
    # Version 2; owner rw, user STRANGER rw, group none, mask rw, others none.
    rows = (1, 6, 0xFFFFFFFF), (2, 6, STRANGER), (4, 0, 0xFFFFFFFF), (16, 6, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF)
    written = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in rows)
    try:
        os.setxattr(path, "system.posix_acl_access", written)
    except (AttributeError, OSError):
        pytest.skip("no access lists here")
    with pytest.raises(UntrustedPath, match="access list"):
        trusted_file(str(path))


@needs_root
def test_a_group_with_other_members_counts_and_the_group_of_root_does_not(tmp_path: Path) -> None:
    path = file(tmp_path / "x.db", 0o660)
    trusted_file(str(path))
    os.chown(path, -1, STRANGER)
    with pytest.raises(UntrustedPath, match="by the group"):
        trusted_file(str(path))


def test_a_private_group_has_no_other_members() -> None:
    import grp
    import pwd

    users = pwd.getpwall()
    for group in grp.getgrall():
        members = {user.pw_name for user in users if user.pw_gid == group.gr_gid} | set(group.gr_mem)
        for user in users:
            if ThisUser(user.pw_uid).is_alone_in(group.gr_gid):
                assert members == {user.pw_name}
    assert not ThisUser().is_alone_in(4_000_000_000)  # which is nobody's


# -- another user ------------------------------------------------------------------------------------------------


def plant(path: Path, mode: int = 0o666) -> None:
    with open(path, "wb"):
        pass
    os.chmod(path, mode)


@needs_root
@pytest.mark.parametrize("refusing", [trusted_file, private_file])
def test_what_another_user_has_planted_is_refused(refusing: Callable[[str], str]) -> None:
    with public_folder() as public:
        as_stranger(lambda: plant(public / "x.db", 0o600))
        as_stranger(lambda: os.mkdir(public / "folder", 0o755))
        as_stranger(lambda: os.symlink("/root", public / "link"))
        for path in ("x.db", "folder/x.db", "folder/deeper/x.db", "link/x.db"):
            with pytest.raises(UntrustedPath, match=r"another user|mode 1777"):
                refusing(str(public / path))
        assert not (public / "folder/x.db").exists()
        assert not (public / "folder/deeper").exists()


@needs_root
def test_a_file_of_another_user_in_a_folder_of_ones_own_is_refused(tmp_path: Path) -> None:
    os.chown(file(tmp_path / "x.db"), STRANGER, -1)
    with pytest.raises(UntrustedPath, match=r"x\.db.*belongs to another user; take a place"):
        trusted_file(str(tmp_path / "x.db"))
    os.unlink(tmp_path / "x.db")
    os.chown(file(tmp_path / "x.db-wal"), STRANGER, -1)
    with pytest.raises(UntrustedPath, match=r"x\.db-wal"):
        trusted_file(str(tmp_path / "x.db"))
