//! Downloads from a server in this process, on the loopback interface.

use crate::common::{program, text};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

/// How the server answers.
#[derive(Clone, Copy, Default)]
struct Server {
    /// Ends the connection after this many bytes of a body, this many times.
    cut: Option<(usize, usize)>,
    /// Every second cut comes after half of the bytes.
    uneven: bool,
    /// Ignores Range.
    whole: bool,
    /// Ignores If-Range.
    unconditional: bool,
    /// Sends no ETag.
    unversioned: bool,
    /// Status of all answers.
    status: Option<u16>,
}

/// Requests with their range, in order.
type Requests = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// Serves `body` at every path but `/moved`, which leads to `/file`.
fn serve(server: Server, body: Vec<u8>) -> (String, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let requests = Requests::default();
    let (log, base) = (requests.clone(), address.clone());
    std::thread::spawn(move || {
        let mut cuts = server.cut.map_or(0, |(_, times)| times);
        for stream in listener.incoming() {
            answer(stream.unwrap(), server, &body, &base, &mut cuts, &log);
        }
    });
    (address, requests)
}

fn answer(mut stream: TcpStream, server: Server, body: &[u8], base: &str, cuts: &mut usize, log: &Requests) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(|line| line.unwrap());
    let Some(path) = lines.next().and_then(|line| line.split(' ').nth(1).map(str::to_owned)) else { return };
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).map(|line| line.to_lowercase()).collect();
    let header =
        |name: &str| headers.iter().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned));
    let range = header("range");
    log.lock().unwrap().push((path.clone(), range.clone()));
    if path == "/moved" {
        let _ = write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: {base}/file\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        return;
    }
    if let Some(status) = server.status {
        let _ = write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return;
    }
    let tag = if server.unversioned { "" } else { "ETag: \"1\"\r\n" };
    let current = server.unconditional || header("if-range").is_none_or(|tag| tag == "\"1\"");
    let start = range.filter(|_| !server.whole && current);
    let start = start.map(|range| range.trim_start_matches("bytes=").trim_end_matches('-').parse::<usize>().unwrap());
    let (status, from) = match start {
        Some(start) if start >= body.len() => {
            let _ =
                write!(stream, "HTTP/1.1 416 No\r\nContent-Range: bytes */{}\r\nContent-Length: 0\r\n\r\n", body.len());
            return;
        }
        Some(start) => {
            (format!("206 Partial\r\nContent-Range: bytes {start}-{}/{}", body.len() - 1, body.len()), start)
        }
        None => ("200 OK".to_owned(), 0),
    };
    let rest = &body[from..];
    let _ = write!(stream, "HTTP/1.1 {status}\r\n{tag}Content-Length: {}\r\nConnection: close\r\n\r\n", rest.len());
    let end = match server.cut {
        Some((bytes, _)) if *cuts > 0 => {
            *cuts -= 1;
            let bytes = if server.uneven && cuts.is_multiple_of(2) { bytes / 2 } else { bytes };
            bytes.min(rest.len())
        }
        _ => rest.len(),
    };
    let _ = stream.write_all(&rest[..end]);
}

fn body(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 % 251) as u8).collect()
}

/// Writes large_files.yml and returns the command that downloads its files into `folder`.
fn large_files(folder: &Path, files: &[(&str, &str, &str, &str)]) -> Command {
    let mut list = "large_files:\n".to_owned();
    for (path, url, ty, hash) in files {
        list += &format!("- path: \"{path}\"\n  url: \"{url}\"\n  hash_val: \"{hash}\"\n  hash_type: \"{ty}\"\n");
    }
    std::fs::write(folder.join("large_files.yml"), list).unwrap();
    let mut command = program(folder);
    command.arg("download_large_files").env("NO_PROXY", "127.0.0.1").env_remove("http_proxy").env_remove("HTTP_PROXY");
    command.env_remove("ALL_PROXY").env_remove("all_proxy");
    command
}

/// All names below `folder`, large_files.yml aside.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "large_files.yml")
        .collect();
    names.sort();
    names
}

fn log(output: &Output) -> String {
    text(&output.stderr)
}

// Digests of `body(300_000)`, by md5sum, sha1sum, sha256sum and sha512sum.
const MD5: &str = "595f72e94389c37764635a38069ac868";
const SHA1: &str = "c79d3d793f534de1bd67213d2295621c91bc0c03";
const SHA256: &str = "4b842fb90e12c8e34f6484748f2e67e138ec9c7c53f72a919f9919c180c6f8d4";
const SHA512: &str = "8fa46133331e816259b014b45bf4bd4c2ed50a25565d61414b173a23754a1be85b318311d08167fea7d37a0fdb696521d856c45efd6533fa4cad1a3959dd36fe";

#[test]
fn files_are_downloaded_checked_and_not_downloaded_again() {
    let folder = tempfile::tempdir().unwrap();
    let (server, requests) = serve(Server::default(), body(300_000));
    let (file, moved) = (format!("{server}/file"), format!("{server}/moved"));
    let files = [
        ("models/a.pt", &*file, "md5", MD5),
        ("b.pt", &moved, "SHA1", SHA1),
        ("c.pt", &file, "", SHA256),
        ("d.pt", &file, "sha512", SHA512),
        ("e.pt", &file, "", ""),
    ];
    let output = large_files(folder.path(), &files).output().unwrap();
    assert!(output.status.success(), "{}", log(&output));
    for (path, ..) in files {
        assert_eq!(std::fs::read(folder.path().join(path)).unwrap(), body(300_000), "{path}");
    }
    assert_eq!(names(folder.path()), ["b.pt", "c.pt", "d.pt", "e.pt", "models"]);
    let before = requests.lock().unwrap().len();
    let again = large_files(folder.path(), &files).output().unwrap();
    assert!(again.status.success() && log(&again).contains("a.pt exists"), "{}", log(&again));
    assert_eq!(requests.lock().unwrap().len(), before);
}

#[test]
fn a_file_with_another_digest_is_removed_and_the_others_are_downloaded() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = serve(Server::default(), body(300_000));
    let url = format!("{server}/file");
    let wrong = "0".repeat(32);
    let files = [("a.pt", &*url, "md5", &*wrong), ("b.pt", &url, "md5", MD5)];
    let output = large_files(folder.path(), &files).output().unwrap();
    let shown = log(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(shown.contains(&format!("expected md5 {wrong}, found {MD5}")), "{shown}");
    assert!(shown.contains("1 of 2 files could not be downloaded"), "{shown}");
    assert_eq!(names(folder.path()), ["b.pt"]);
    // A file that is there is kept, and its digest is compared.
    let output = large_files(folder.path(), &[("b.pt", &url, "md5", &wrong)]).output().unwrap();
    assert!(log(&output).contains("delete the file to download it again"), "{}", log(&output));
    assert_eq!(names(folder.path()), ["b.pt"]);
}

#[test]
fn a_cut_connection_is_continued_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (server, requests) = serve(Server { cut: Some((100_000, 2)), ..Server::default() }, body(300_000));
    let output = large_files(folder.path(), &[("a.pt", &format!("{server}/file"), "md5", MD5)]).output().unwrap();
    assert!(output.status.success(), "{}", log(&output));
    let ranges: Vec<_> = requests.lock().unwrap().iter().map(|(_, range)| range.clone()).collect();
    assert_eq!(ranges, [None, Some("bytes=100000-".into()), Some("bytes=200000-".into())]);
    assert_eq!(names(folder.path()), ["a.pt"]);
}

#[test]
fn a_download_that_broke_off_is_continued_by_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let (server, requests) = serve(Server { cut: Some((0, usize::MAX)), ..Server::default() }, body(300_000));
    let mut command = large_files(folder.path(), &[("a.pt", &format!("{server}/file"), "", "")]);
    // What an earlier run left.
    std::fs::write(folder.path().join(".a.pt.part"), &body(300_000)[..123_456]).unwrap();
    let note = format!(r#"{{"url": "{server}/file", "version": "\"1\""}}"#);
    std::fs::write(folder.path().join(".a.pt.part.json"), note).unwrap();
    let output = command.output().unwrap();
    let shown = log(&output);
    assert!(shown.contains("broke off after 0.1 MiB") && shown.contains("run again to continue"), "{shown}");
    assert_eq!(names(folder.path()), [".a.pt.part", ".a.pt.part.json"]);
    assert!(requests.lock().unwrap().iter().all(|(_, range)| range.as_deref() == Some("bytes=123456-")));
    let (server, requests) = serve(Server::default(), body(300_000));
    let note = format!(r#"{{"url": "{server}/file", "version": "\"1\""}}"#);
    std::fs::write(folder.path().join(".a.pt.part.json"), note).unwrap();
    let output = large_files(folder.path(), &[("a.pt", &format!("{server}/file"), "", "")]).output().unwrap();
    assert!(output.status.success(), "{}", log(&output));
    assert_eq!(requests.lock().unwrap().len(), 1);
    assert_eq!(std::fs::read(folder.path().join("a.pt")).unwrap(), body(300_000));
    assert_eq!(names(folder.path()), ["a.pt"]);
}

#[test]
fn an_address_that_does_not_exist_is_said_to_be_wrong() {
    // Also where another run has left a part.
    for has_part in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (server, _) = serve(Server { status: Some(404), ..Server::default() }, vec![]);
        if has_part {
            std::fs::write(folder.path().join(".a.pt.part"), b"part").unwrap();
            let note = format!(r#"{{"url": "{server}/file", "version": "\"1\""}}"#);
            std::fs::write(folder.path().join(".a.pt.part.json"), note).unwrap();
        }
        let shown = log(&large_files(folder.path(), &[("a.pt", &format!("{server}/file"), "", "")]).output().unwrap());
        assert!(shown.contains("this address does not exist") && !shown.contains("run again"), "{shown}");
    }
}

#[test]
fn parts_of_different_files_are_never_joined() {
    for (server, version) in [
        // The server ignores Range, or has another version of the file than the part.
        (Server { whole: true, ..Server::default() }, "\"1\""),
        (Server::default(), "\"0\""),
        (Server { unconditional: true, ..Server::default() }, "\"0\""),
        (Server { unconditional: true, unversioned: true, ..Server::default() }, "\"0\""),
        (Server { unversioned: true, ..Server::default() }, ""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (address, _) = serve(server, body(300_000));
        std::fs::write(folder.path().join(".a.pt.part"), vec![7; 1000]).unwrap();
        let version = if version.is_empty() { serde_json::Value::Null } else { version.into() };
        let note = serde_json::json!({"url": format!("{address}/file"), "version": version});
        std::fs::write(folder.path().join(".a.pt.part.json"), note.to_string()).unwrap();
        let output = large_files(folder.path(), &[("a.pt", &format!("{address}/file"), "", "")]).output().unwrap();
        assert!(output.status.success(), "{}", log(&output));
        assert_eq!(std::fs::read(folder.path().join("a.pt")).unwrap(), body(300_000));
    }
}

#[test]
fn a_part_of_a_file_of_another_size_is_not_continued() {
    // The part may be as long as the new file, for which servers answer 416.
    for part in [1000, 300_000] {
        let folder = tempfile::tempdir().unwrap();
        let (address, _) = serve(Server::default(), body(300_000));
        std::fs::write(folder.path().join(".a.pt.part"), vec![7; part]).unwrap();
        let note = serde_json::json!({"url": format!("{address}/file"), "version": "\"1\"", "total": 400_000});
        std::fs::write(folder.path().join(".a.pt.part.json"), note.to_string()).unwrap();
        let output = large_files(folder.path(), &[("a.pt", &format!("{address}/file"), "", "")]).output().unwrap();
        assert!(output.status.success(), "{}", log(&output));
        assert_eq!(std::fs::read(folder.path().join("a.pt")).unwrap(), body(300_000));
    }
}

#[test]
fn a_server_that_never_gets_further_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server { cut: Some((100_000, usize::MAX - 1)), uneven: true, whole: true, ..Server::default() };
    let (address, requests) = serve(server, body(300_000));
    let output = large_files(folder.path(), &[("a.pt", &format!("{address}/file"), "", "")]).output().unwrap();
    assert!(output.status.code() == Some(1) && log(&output).contains("broke off after"), "{}", log(&output));
    assert!(requests.lock().unwrap().len() <= 5, "{:?}", requests.lock().unwrap());
}

#[test]
fn a_part_that_is_a_link_is_neither_written_nor_read() {
    for name in [".a.pt.part", ".a.pt.part.json"] {
        for link in [
            |from: &Path, to: &Path| std::os::unix::fs::symlink(from, to),
            |from: &Path, to: &Path| std::fs::hard_link(from, to),
        ] {
            let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let (server, requests) = serve(Server::default(), body(300_000));
            let victim = outside.path().join("authorized_keys");
            std::fs::write(&victim, "key").unwrap();
            link(&victim, &folder.path().join(name)).unwrap();
            let output = large_files(folder.path(), &[("a.pt", &format!("{server}/file"), "", "")]).output().unwrap();
            let shown = log(&output);
            assert!(output.status.code() == Some(1) && shown.contains("found a link"), "{name}: {shown}");
            assert!(shown.contains(name), "{name}: {shown}");
            assert_eq!(std::fs::read(&victim).unwrap(), b"key");
            assert!(requests.lock().unwrap().is_empty() && !folder.path().join("a.pt").exists());
        }
    }
}

#[test]
fn a_complete_part_needs_no_more_data() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = serve(Server::default(), body(300_000));
    let url = format!("{server}/file");
    std::fs::write(folder.path().join(".a.pt.part"), body(300_000)).unwrap();
    let note = serde_json::json!({"url": url, "version": "\"1\""});
    std::fs::write(folder.path().join(".a.pt.part.json"), note.to_string()).unwrap();
    let output = large_files(folder.path(), &[("a.pt", &url, "md5", MD5)]).output().unwrap();
    assert!(output.status.success(), "{}", log(&output));
    assert_eq!(names(folder.path()), ["a.pt"]);
}

#[test]
fn a_full_disk_is_one_error_and_leaves_no_file_under_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = serve(Server::default(), body(300_000));
    let url = format!("{server}/file");
    let direct = large_files(folder.path(), &[("a.pt", &url, "md5", MD5)]);
    // Files may have at most 100 blocks of 1024 bytes: a write beyond that fails as on a full disk.
    let mut command = Command::new("bash");
    command.current_dir(folder.path()).args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$0\" \"$@\""]);
    command.arg(direct.get_program()).args(direct.get_args()).env("NO_PROXY", "127.0.0.1");
    let output = command.output().unwrap();
    let shown = log(&output);
    assert!(output.status.code() == Some(1) && shown.contains("cannot write: "), "{shown}");
    assert_eq!(shown.matches("error: ").count(), 2, "{shown}");
    assert!(!folder.path().join("a.pt").exists());
    let output = large_files(folder.path(), &[("a.pt", &url, "md5", MD5)]).output().unwrap();
    assert!(output.status.success(), "{}", log(&output));
    assert_eq!(std::fs::read(folder.path().join("a.pt")).unwrap(), body(300_000));
}

#[test]
fn addresses_and_paths_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (server, requests) = serve(Server { status: Some(404), ..Server::default() }, vec![]);
    let url = format!("{server}/file");
    for (path, url, ty, hash, message) in [
        ("a.pt", &*url, "", "", "the server answered 404"),
        ("a.pt", "file:///etc/passwd", "", "", "starts with http:// or https://"),
        ("a.pt", "https://drive.google.com/uc?id=1", "", "", "Google Drive are not supported"),
        ("../a.pt", &url, "", "", "expected a path within the bundle, found `../a.pt`"),
        ("/tmp/a.pt", &url, "", "", "expected a path within the bundle"),
        ("a.pt", &url, "md5", "abc", "expected 32 hexadecimal digits of md5"),
        ("a.pt", &url, "crc", "abc", "expected md5, sha1, sha256 or sha512, found `crc`"),
    ] {
        let output = large_files(folder.path(), &[(path, url, ty, hash)]).output().unwrap();
        assert!(!output.status.success() && log(&output).contains(message), "{message}: {}", log(&output));
        assert_eq!(names(folder.path()), [""; 0]);
    }
    assert_eq!(requests.lock().unwrap().len(), 1);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = large_files(folder.path(), &[("a.pt", &format!("http://{closed}/"), "", "")]).output().unwrap();
    assert!(log(&output).contains(&format!("cannot download http://{closed}/: ")), "{}", log(&output));
    assert_eq!(names(folder.path()), [""; 0]);
    std::fs::write(folder.path().join("large_files.yml"), "large_files: 3\n").unwrap();
    let output = program(folder.path()).arg("download-large-files").output().unwrap();
    assert!(log(&output).contains("expected a list `large_files`"), "{}", log(&output));
}

/// A zip file of these entries.
fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
    use zip::write::SimpleFileOptions;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    for (name, content) in entries {
        match content.strip_prefix("-> ") {
            Some(target) => zip.add_symlink(*name, target, SimpleFileOptions::default()).unwrap(),
            None => {
                zip.start_file(*name, SimpleFileOptions::default()).unwrap();
                zip.write_all(content.as_bytes()).unwrap();
            }
        }
    }
    zip.finish().unwrap().into_inner()
}

fn download(folder: &Path, words: &[&str]) -> Output {
    let mut command = program(folder);
    command.arg("download").args(words).args(["--bundle_dir", "bundles"]).env("NO_PROXY", "127.0.0.1");
    command.output().unwrap()
}

#[test]
fn a_bundle_is_downloaded_and_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) =
        serve(Server::default(), archive(&[("net/configs/metadata.json", "{}"), ("net/models/model.pt", "weights")]));
    let url = format!("{server}/net_v1.zip?x=1");
    let output = download(folder.path(), &["--url", &url]);
    assert!(output.status.success(), "{}", log(&output));
    assert_eq!(names(&folder.path().join("bundles")), ["net"]);
    assert_eq!(std::fs::read(folder.path().join("bundles/net/models/model.pt")).unwrap(), b"weights");
    let again = download(folder.path(), &["--name", "net", "--url", &url, "--progress", "False"]);
    assert!(log(&again).contains("the bundle exists"), "{}", log(&again));
}

#[test]
fn a_file_of_the_archives_name_is_neither_unpacked_nor_removed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("bundles")).unwrap();
    let own = archive(&[("own/a", "x")]);
    std::fs::write(folder.path().join("bundles/data.zip"), &own).unwrap();
    let (server, _) = serve(Server::default(), archive(&[("net/a", "y")]));
    let output = download(folder.path(), &["--url", &format!("{server}/data.zip")]);
    assert!(output.status.success(), "{}", log(&output));
    assert_eq!(names(&folder.path().join("bundles")), ["data.zip", "net"]);
    assert_eq!(std::fs::read(folder.path().join("bundles/data.zip")).unwrap(), own);
}

#[test]
fn archives_cannot_write_outside_of_their_folder() {
    for (entries, message) in [
        (&[("net/a", "x"), ("net/../../b", "x")][..], "found the entry `net/../../b`"),
        (&[("/tmp/b", "x")], "found the entry `/tmp/b`"),
        (&[("net/a", "-> /etc")], "found the entry `net/a`"),
        (&[("net/a", "x"), ("other/b", "x")], "expected one folder in the archive"),
        (&[], "the archive is empty"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (server, _) = serve(Server::default(), archive(entries));
        let output = download(folder.path(), &["--url", &format!("{server}/net.zip")]);
        assert!(!output.status.success() && log(&output).contains(message), "{message}: {}", log(&output));
        // Nothing is left that would keep the next download from succeeding.
        assert_eq!(names(&folder.path().join("bundles")), [""; 0]);
    }
}

#[test]
fn what_a_download_needs_is_said() {
    let folder = tempfile::tempdir().unwrap();
    for (words, message) in [
        (&[][..], "no bundle is given"),
        (&["--name", "spleen_ct_segmentation"], "no version is given"),
        (&["spleen", "0.1.0", "--source", "ngc"], "the source `ngc` is not supported"),
        (&["spleen", "0.1.0", "--source", "gitlab"], "unknown source `gitlab`"),
        (&["../spleen", "0.1.0"], "`name`: expected letters"),
        (&["spleen", "0.1.0", "--source", "github", "--repo", "a/b"], "`repo`: expected OWNER/NAME/TAG"),
        (&["--nmae", "x"], "did you mean `--name`?"),
    ] {
        let output = download(folder.path(), words);
        assert!(output.status.code() == Some(2) && log(&output).contains(message), "{words:?}: {}", log(&output));
    }
    assert!(!folder.path().join("bundles").exists());
}
