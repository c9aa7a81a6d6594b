//! Memory that the control groups of this process may have. Each bounds what is below it, so all of them count, from
//! the process's own up to the root; both versions of control groups are read.
//!
//! `/proc/self/cgroup` names the process's own, as `0::/path` in version 2 and `N:memory:/path` in version 1. Inside
//! a container the path may be one of the machine's, which is not there: then what is there counts.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Where the file systems of control groups are.
const ROOT: &str = "/sys/fs/cgroup";

/// What they may have, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupMemory {
    /// The least that one of them may have.
    pub(crate) max: u64,
    /// The least that is left of one of them.
    pub(crate) left: u64,
}

/// That of this process; `None` where nothing bounds it.
pub(crate) fn memory() -> Option<GroupMemory> {
    of(&read_to_string("/proc/self/cgroup").ok()?, Path::new(ROOT))
}

/// That of a process whose `/proc/self/cgroup` is `groups`, with the file systems below `root`.
fn of(groups: &str, root: &Path) -> Option<GroupMemory> {
    let all = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (hierarchy, controllers, path) = (parts.next(), parts.next(), parts.next());
        let path = path.unwrap_or_default();
        match (hierarchy, controllers.unwrap_or_default()) {
            (Some("0"), "") => folders(&[root.to_path_buf(), root.join("unified")], path)
                .filter_map(|folder| group(&folder, "memory.max", "memory.current"))
                .collect(),
            (_, controllers) if controllers.split(',').any(|name| name == "memory") => {
                folders(&[root.join("memory")], path)
                    .filter_map(|folder| group(&folder, "memory.limit_in_bytes", "memory.usage_in_bytes"))
                    .collect()
            }
            _ => Vec::new(),
        }
    });
    all.reduce(|a, b| GroupMemory { max: a.max.min(b.max), left: a.left.min(b.left) })
}

/// The folder of the group `path` and of those above it, below each of `roots`.
fn folders(roots: &[PathBuf], path: &str) -> impl Iterator<Item = PathBuf> {
    let path = Path::new(path.trim_start_matches('/'));
    // One that leads out is outside of what this process sees.
    let is_inside = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let path = if is_inside { path } else { Path::new("") };
    roots.iter().flat_map(move |root| path.ancestors().map(move |path| root.join(path)))
}

/// What one group may have; `None` without a limit.
fn group(folder: &Path, max: &str, current: &str) -> Option<GroupMemory> {
    let number = |name: &str| read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    let max = number(max)?;
    Some(GroupMemory { max, left: max.saturating_sub(number(current).unwrap_or(0)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of groups, of which each has what its files say.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = crate::support::temporary_folder();
        for (path, content) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        root
    }

    fn found(root: &tempfile::TempDir, groups: &str) -> Option<(u64, u64)> {
        of(groups, root.path()).map(|group| (group.max, group.left))
    }

    #[test]
    fn the_least_of_all_groups_above_counts() {
        let root = tree(&[
            ("system.slice/loader.service/memory.max", "max\n"),
            ("system.slice/loader.service/memory.current", "10\n"),
            ("system.slice/memory.max", "1000\n"),
            ("system.slice/memory.current", "950\n"),
            ("memory.max", "2000\n"),
            ("memory.current", "1990\n"),
            ("other.slice/memory.max", "1\n"),
        ]);
        assert_eq!(found(&root, "0::/system.slice/loader.service\n"), Some((1000, 10)));
        assert_eq!(found(&root, "0::/other.slice/x\n"), Some((1, 1)));
        // As a container without a name space of its own sees it: the path is the machine's.
        assert_eq!(found(&root, "0::/docker/0123\n"), Some((2000, 10)));
        assert_eq!(found(&root, "0::/\n"), Some((2000, 10)));
        assert_eq!(found(&root, "0::/../../other.slice\n"), Some((2000, 10)));
    }

    #[test]
    fn the_first_version_and_both_together() {
        let root = tree(&[
            ("memory/lxc/a/memory.limit_in_bytes", "300\n"),
            ("memory/lxc/a/memory.usage_in_bytes", "100\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("unified/lxc/a/memory.max", "500\n"),
        ]);
        let groups = "12:cpu,cpuacct:/lxc/a\n5:memory:/lxc/a\n0::/lxc/a\n";
        assert_eq!(found(&root, groups), Some((300, 200)));
        assert_eq!(found(&root, "0::/lxc/a\n"), Some((500, 500)));
        assert_eq!(
            found(&root, "4:hugetlb,memory:/lxc/a:b\n"),
            Some((9_223_372_036_854_771_712, 9_223_372_036_854_771_712))
        );
    }

    #[test]
    fn nothing_bounds_a_process_without_groups() {
        let root = tree(&[("memory.max", "max\n")]);
        for groups in ["0::/\n", "", "nonsense\n", "1:name=systemd:/x\n"] {
            assert_eq!(found(&root, groups), None, "{groups}");
        }
    }
}
