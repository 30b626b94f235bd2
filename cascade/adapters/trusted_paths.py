"""Files that nobody but this user and root can change: the rule, and how such files are made.

State and cache files hold pickles, and a pickle is code; who can write to the control file controls runs. So all
of them come here first.

A path is trusted if every folder and link on the way to the file, and the file itself, belongs to this user or to
root and cannot be written by anybody else. On the way, others may write to a folder with the sticky bit (such as
``/tmp``), because only the owner of what lies in it can take that away. They may not write to the last folder:
SQLite would read a journal that somebody has put beside the file. Links count only in folders to which nobody else
can write.

To look at one name after the other is no race. Once a folder has passed, nobody else can rename, replace or remove
what has passed in it. So the path means the same when SQLite, which takes nothing but a path, opens it later.

On Linux the modes tell about access lists too; the access lists of macOS are not looked at. Where files have no
owners (Windows), nothing is looked at: files there are as private as their folder.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from typing import Final, Protocol, Self

import attrs

ROOT: Final = 0
# Links on the way, as systems bound them.
MOST_LINKS: Final = 40
# What SQLite reads and writes beside a file.
_BESIDE: Final = "-wal", "-shm", "-journal"


class UntrustedPath(PermissionError):
    """Somebody else can change or replace what a path leads to, or has made it.

    Attributes:
        fault: Which folder, link or file is at fault, its owner and mode, and what is wrong with it.
        remedy: What to do about that.
    """

    def __init__(self, fault: str, remedy: str) -> None:
        self.fault = fault
        self.remedy = remedy
        super().__init__(f"{fault}; {remedy}")


@attrs.frozen
class Entry:
    """What the rule looks at of a folder, a link or a file.

    Attributes:
        owner: Its user id.
        group: Its group id.
        mode: Its kind and its permissions, as ``os.lstat`` gives them.
        has_list: Whether an access list gives the permissions of the group to further users.
    """

    owner: int
    group: int
    mode: int
    has_list: bool = False

    @classmethod
    def at(cls, path: str) -> Self:
        """What there is at *path*, itself and not what it links to.

        Raises:
            OSError: If there is nothing, or it cannot be looked at.
        """
        found = os.lstat(path)
        is_shared = found.st_mode & stat.S_IWGRP and not stat.S_ISLNK(found.st_mode)
        return cls(found.st_uid, found.st_gid, found.st_mode, has_list=bool(is_shared) and _has_list(path))


class Viewer(Protocol):
    """A user, from whose point of view a path is judged."""

    @property
    def uid(self) -> int:
        """The user."""
        ...

    def is_alone_in(self, group: int) -> bool:
        """Whether nobody else is in *group*."""
        ...


@attrs.frozen
class ThisUser:
    """The user of this process."""

    uid: int = attrs.field(factory=lambda: os.geteuid())

    def is_alone_in(self, group: int) -> bool:
        """Whether *group* is this user's private one: of the same name, and with no further members."""
        import grp  # these two are not everywhere
        import pwd

        try:
            user, found = pwd.getpwuid(self.uid), grp.getgrgid(group)
        except KeyError:
            return False
        is_private = user.pw_gid == group and user.pw_name == found.gr_name
        return is_private and set(found.gr_mem) <= {user.pw_name}


def why_untrusted(entry: Entry, viewer: Viewer, *, may_be_sticky: bool = False) -> str | None:
    """What is wrong with *entry*, in words that follow its name; ``None`` if *viewer* may trust it.

    Group 0 is trusted as root is.

    Args:
        entry: A folder, a link or a file.
        viewer: The user who is to trust it.
        may_be_sticky: Whether others may write to it if it has the sticky bit: for folders on the way.
    """
    if entry.owner not in (ROOT, viewer.uid):
        return "belongs to another user"
    if stat.S_ISLNK(entry.mode) or (may_be_sticky and entry.mode & stat.S_ISVTX):
        return None  # a link has no permissions of its own
    if entry.mode & stat.S_IWOTH:
        return "can be written by everybody"
    if not entry.mode & stat.S_IWGRP:
        return None
    if entry.has_list:
        return "can be written by others through its access list"
    if entry.group != ROOT and not viewer.is_alone_in(entry.group):
        return f"can be written by the group {_group_name(entry.group)}"
    return None


def trusted_file(path: str, *, makes: bool = True) -> str:
    """Where *path* leads to, without links, for a file that only this user and root can change.

    Args:
        path: The file. Its folder must be there.
        makes: Whether the file is made if it is not there: empty, with mode 0600 whatever the umask.

    Raises:
        UntrustedPath: If somebody else can change or replace it, or has made it.
        OSError: If it cannot be reached or made.
    """
    if not has_owners():
        return path
    found = _resolved(path, ThisUser())
    if makes:
        _make_file(found)
    _judge_file(found)
    return found


def shared_file(path: str, *, makes: bool = True) -> str:
    """*path*, whoever can change it: for users who trust all who can write there.

    Args:
        path: The file. Its folder must be there.
        makes: Whether the file is made if it is not there: empty, for all to write whom the umask lets.

    Raises:
        OSError: If it cannot be made.
    """
    if makes and has_owners():
        _make_file(path, 0o666)  # SQLite would let nobody but the owner write
    return path


def private_file(path: str) -> str:
    """Where *path* leads to, for a file that only this user and root can read or change.

    The file and the folders on the way are made if they are not there, with modes 0600 and 0700 whatever the
    umask.

    Raises:
        UntrustedPath: If somebody else can read, change or replace it, or has made it; or if it is a link.
        OSError: If it cannot be reached or made.
    """
    found = _resolved(path, ThisUser(), makes_folders=True, follows_last=False)
    _make_file(found)
    _judge_file(found)
    entry = Entry.at(found)
    if entry.mode & 0o077:
        raise UntrustedPath(f"{_shown(found, entry)} is not yours alone", f"`chmod 600 {shlex.quote(found)}`")
    return found


def open_private(path: str, flags: int) -> int:
    """An ``opener`` for :func:`open` that makes files with mode 0600, whatever the umask; others keep theirs."""
    try:
        descriptor = os.open(path, flags | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags, 0o600)
    if has_owners():
        os.fchmod(descriptor, 0o600)
    return descriptor


def has_owners() -> bool:
    """Whether files of this system belong to users."""
    return hasattr(os, "geteuid")


# -- the way to a file -------------------------------------------------------------------------------------------


def _resolved(path: str, viewer: Viewer, *, makes_folders: bool = False, follows_last: bool = True) -> str:
    """Where *path* leads to, without links: a name, maybe free, in a folder that only *viewer* can change."""
    here, left, links = "/", _names(os.path.join(os.getcwd(), path)), 0
    _judge(here, viewer, may_be_sticky=True)
    while left:
        name = left.pop()
        if name == "..":
            here = os.path.dirname(here)
            continue
        there = os.path.join(here, name)
        entry = _entry(there, makes_folder=makes_folders and bool(left))
        if entry is not None and stat.S_ISLNK(entry.mode) and (left or follows_last):
            links += 1
            if links > MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            _judge(here, viewer)
            _judge(there, viewer)
            target = os.readlink(there)
            here = "/" if os.path.isabs(target) else here
            left += _names(target)
        elif left:
            _judge(there, viewer, may_be_sticky=True)
            here = there
        else:
            _judge(here, viewer)
            return there
    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)


def _names(path: str) -> list[str]:
    """The names in *path*, the first one last."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _entry(path: str, *, makes_folder: bool) -> Entry | None:
    """What there is at *path*, after a folder was made there, if that is wanted."""
    try:
        return Entry.at(path)
    except FileNotFoundError:
        if not makes_folder:
            return None
    try:
        os.mkdir(path, 0o700)
        os.chmod(path, 0o700)  # the umask may have taken away too much
    except FileExistsError:
        pass  # somebody was faster, and is judged like everybody
    return Entry.at(path)


def _judge(path: str, viewer: Viewer, *, may_be_sticky: bool = False) -> None:
    _judge_entry(path, Entry.at(path), viewer, may_be_sticky=may_be_sticky)


def _judge_entry(path: str, entry: Entry, viewer: Viewer, *, may_be_sticky: bool = False) -> None:
    why = why_untrusted(entry, viewer, may_be_sticky=may_be_sticky)
    if why is None:
        return
    # A sticky folder is there for everybody.
    can_be_mended = entry.owner == viewer.uid and not entry.mode & stat.S_ISVTX
    remedy = f"`chmod go-w {shlex.quote(path)}`" if can_be_mended else "take a place in a folder of your own"
    raise UntrustedPath(f"{_shown(path, entry)} {why}", remedy)


# -- the file itself ---------------------------------------------------------------------------------------------


def _make_file(path: str, mode: int = 0o600) -> None:
    """Make the file, unless there is something.

    Never opens what is there: closing a descriptor of an SQLite file takes away the locks that other connections
    of this process have on it, and with them what these have written.
    """
    if os.path.lexists(path):
        return
    try:
        try:
            os.mknod(path, mode | stat.S_IFREG)
        except (AttributeError, PermissionError):  # on macOS, only root makes files so
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        if mode == 0o600:
            os.chmod(path, mode)  # the umask may have taken away too much
    except FileExistsError:
        pass  # another process of ours was faster


def _judge_file(path: str) -> None:
    viewer = ThisUser()
    for name in (path, *(path + ending for ending in _BESIDE)):
        try:
            entry = Entry.at(name)
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(entry.mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        if not stat.S_ISREG(entry.mode):
            raise UntrustedPath(f"{_shown(name, entry)} is no plain file", "take another path")
        _judge_entry(name, entry, viewer)  # as it was found: SQLite may delete its journal at any moment


def _shown(path: str, entry: Entry) -> str:
    kinds = {stat.S_IFDIR: "folder", stat.S_IFLNK: "link", stat.S_IFREG: "file"}
    kind = kinds.get(stat.S_IFMT(entry.mode), "entry")
    return f"the {kind} {path!r} (owner {_user_name(entry.owner)}, mode {stat.S_IMODE(entry.mode):04o})"


def _user_name(number: int) -> str:
    """The name of a user, or the number if it has none."""
    try:
        import pwd

        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group_name(number: int) -> str:
    """The name of a group, or the number if it has none."""
    try:
        import grp

        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _has_list(path: str) -> bool:
    """Whether there is an access list at *path*, as far as the system tells."""
    try:
        return "system.posix_acl_access" in os.listxattr(path, follow_symlinks=False)
    except (AttributeError, OSError):
        return False
