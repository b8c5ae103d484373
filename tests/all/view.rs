//! `segbundle view`: what the server gives and what it refuses, and how cases are found.

use crate::common::{Bundle, program, text};
use segbundle::formats::nifti;
use segbundle::image::{Affine, DType, Layout, Volume, Voxels};
use segbundle::server::Server;
use segbundle::tools::structures::Structures;
use segbundle::tools::view::{self, Case, Request};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const TOKEN: &str = "secret";
const NIIVUE: &str = "export const fake = 1;";

/// Puts NiiVue into a cache folder.
fn install_niivue(cache: &Path) {
    let version: serde_json::Value = serde_json::from_str(include_str!("../../src/tools/view/niivue.json")).unwrap();
    let niivue = format!("segbundle/niivue-{}.js", version["version"].as_str().unwrap());
    std::fs::create_dir(cache.join("segbundle")).unwrap();
    std::fs::write(cache.join(niivue), NIIVUE).unwrap();
}

fn names() -> Structures {
    Structures::new([(1, "spleen".into()), (2, "größe <b>".into())]).unwrap()
}

fn write(path: &Path, values: impl Fn(usize) -> i64, dtype: DType, named: bool) -> PathBuf {
    let layout = Layout::contiguous([1, 4, 5, 6]);
    let voxels = Voxels::I64((0..120).map(values).collect::<Vec<i64>>().into());
    let xml = if named { segbundle::tools::label_names::to_xml(&names()) } else { String::new() };
    let options = nifti::Options { extension: xml.as_bytes(), ..nifti::Options::default() };
    let affine = Affine([[-2.0, 0.0, 0.0, 7.0], [0.0, 2.0, 0.0, -5.0], [0.0, 0.0, 3.0, 1.0], [0.0, 0.0, 0.0, 1.0]]);
    nifti::write(path, &voxels, &layout, &affine, dtype, options).unwrap();
    path.to_owned()
}

fn ct(path: &Path) -> PathBuf {
    write(path, |i| i as i64 * 10 - 600, DType::I16, false)
}

/// Serves a CT (0) with its labels (1), and labels of 64 bits (2).
fn serve(folder: &TempDir) -> Server {
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("niivue.js"), NIIVUE).unwrap();
    std::fs::write(path("private.txt"), "private").unwrap();
    let case = |image, labels| Case { name: "a case".into(), image, labels: Some(labels), names: names() };
    let cases = vec![
        case(Some(ct(&path("ct.nii.gz"))), write(&path("labels.nii.gz"), |i| (i % 3) as i64, DType::U8, true)),
        case(None, write(&path("wide.nii"), |i| (i % 3) as i64 * 300, DType::I64, false)),
    ];
    Server::start(view::router(cases, path("niivue.js"), TOKEN).unwrap(), 0).unwrap()
}

/// Status, header in lower case, and body of the answer to a request as sent.
fn send(address: SocketAddr, request: &str) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = vec![];
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n").unwrap_or(answer.len());
    let header = text(&answer[..end]).to_lowercase();
    let status = header.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, header, answer.get(end + 4..).unwrap_or_default().to_vec())
}

fn request(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n")
}

fn get(server: &Server, path: &str) -> (u16, String, Vec<u8>) {
    send(server.address(), &request("GET", &format!("/{TOKEN}/{path}"), ""))
}

#[test]
fn page_list_and_listed_files_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(&folder);
    assert!(server.address().ip().is_loopback());
    let (status, header, page) = get(&server, "");
    assert!(status == 200 && text(&page).contains("<canvas") && header.contains("content-type: text/html"), "{header}");
    for part in ["content-security-policy: default-src 'none'", "nosniff", "no-store", "same-origin"] {
        assert!(header.contains(part), "{part}: {header}");
    }
    let (status, header, script) = get(&server, "niivue.js");
    assert!((status, &*script) == (200, NIIVUE.as_bytes()) && header.contains("content-type: text/javascript"));
    for part in ["page.js", "page.css"] {
        assert_eq!(get(&server, part).0, 200);
    }
    let list: serde_json::Value = serde_json::from_slice(&get(&server, "cases.json").2).unwrap();
    let first = &list["cases"][0];
    assert_eq!((&first["image"]["name"], &first["image"]["stored"]), (&"ct.nii.gz".into(), &true.into()));
    assert_eq!((&list["cases"][1]["image"], &list["cases"][1]["labels"]["stored"]), (&().into(), &false.into()));
    let structures = &list["structures"][first["structures"].as_u64().unwrap() as usize];
    assert_eq!(structures[0], serde_json::json!([1, "spleen", "#32aa3c"]));
    assert!(!list.to_string().contains(&*folder.path().to_string_lossy()), "{list}");
    for (id, name) in [(0, "ct.nii.gz"), (1, "labels.nii.gz")] {
        let (status, _, body) = get(&server, &format!("stored/{id}"));
        assert!(status == 200 && body == std::fs::read(folder.path().join(name)).unwrap());
    }
}

#[test]
fn no_request_reaches_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(&folder);
    let secret = folder.path().join("private.txt");
    let secret = secret.to_str().unwrap();
    for path in [
        "stored/3",
        "stored/-1",
        "stored/00x",
        "stored/",
        "stored/18446744073709551616",
        "stored/ct.nii.gz",
        "stored/private.txt",
        "stored/..%2fprivate.txt",
        "stored/%2e%2e%2fprivate.txt",
        "stored/0/../private.txt",
        "stored/0%00",
        "stored/%ff",
        "converted/3",
        "converted/..%2fprivate.txt",
        "../private.txt",
        "private.txt",
        "..%5cprivate.txt",
        &format!("stored/{secret}"),
        &format!("stored/{}", secret.replace('/', "%2f")),
    ] {
        let (status, _, body) = get(&server, path);
        assert!(matches!(status, 400 | 404) && !text(&body).contains("private"), "{path}: {status} {}", text(&body));
    }
    for path in [
        "/",
        "/stored/0",
        "/cases.json",
        "/wrong/cases.json",
        "/secre/stored/0",
        secret,
        "//etc/passwd",
        "/../../etc/passwd",
    ] {
        assert_eq!(send(server.address(), &request("GET", path, "")).0, 404, "{path}");
    }
}

#[test]
fn other_hosts_and_methods_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(&folder);
    let path = format!("/{TOKEN}/stored/0");
    let of_host =
        |host: &str| send(server.address(), &format!("GET {path} HTTP/1.1\r\n{host}Connection: close\r\n\r\n"));
    for host in ["Host: 127.0.0.1:1\r\n", "Host: [::1]\r\n"] {
        assert_eq!(of_host(host).0, 200, "{host}");
    }
    for host in ["Host: example.org\r\n", "Host: example.org:80\r\n", "", "Host: localhost\r\nHost: example.org\r\n"] {
        let (status, _, body) = of_host(host);
        assert!(matches!(status, 400 | 403) && body.len() < 200, "{host}: {status}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        let (status, header, _) = send(server.address(), &request(method, &path, "Content-Length: 3\r\n"));
        assert!(status == 405 && !header.contains("access-control"), "{method} {header}");
    }
    let (status, header, body) = send(server.address(), &request("HEAD", &path, ""));
    let size = std::fs::metadata(folder.path().join("ct.nii.gz")).unwrap().len();
    assert!(status == 200 && body.is_empty() && header.contains(&format!("content-length: {size}")), "{header}");
}

#[test]
fn a_part_of_a_file_can_be_requested() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(&folder);
    let (status, _, body) =
        send(server.address(), &request("GET", &format!("/{TOKEN}/stored/0"), "Range: bytes=3-9\r\n"));
    assert_eq!((status, &*body), (206, &std::fs::read(folder.path().join("ct.nii.gz")).unwrap()[3..=9]));
}

#[test]
fn requests_of_any_size_and_kind_do_not_stop_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(&folder);
    let long = "x".repeat(1 << 20);
    for bytes in [request("GET", &format!("/{long}"), ""), request("GET", "/", &format!("X: {long}\r\n"))] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(bytes.as_bytes());
        let mut answer = vec![];
        let _ = stream.read_to_end(&mut answer);
        assert!(!text(&answer).contains(" 200 "), "{}", text(&answer));
    }
    for bytes in ["GET\r\n\r\n", "GET / HTTP/9\r\n\r\n", "\0\0\0\0\r\n\r\n"] {
        assert!(send(server.address(), bytes).0 != 200, "{bytes:?}");
    }
    // A client that never finishes its request is disconnected.
    let begun = Instant::now();
    assert_eq!(send(server.address(), "GET / HTTP/1.1\r\nHost: local").0, 0);
    assert!(begun.elapsed() > Duration::from_secs(5));
    let _idle: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    assert_eq!(get(&server, "").0, 200);
}

#[test]
fn images_that_browsers_cannot_read_are_converted() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(&folder);
    let volume = |id: usize| {
        let (status, _, body) = get(&server, &format!("converted/{id}"));
        assert_eq!(status, 200, "{}", text(&body));
        nifti::read_bytes(&unchunked(&body), Path::new("converted.nii")).unwrap()
    };
    let same = |a: &Volume, b: &Volume| a.grid() == b.grid() && a.to_f32_vec().unwrap() == b.to_f32_vec().unwrap();
    for (id, name, dtype) in
        [(0, "ct.nii.gz", DType::I16), (1, "labels.nii.gz", DType::U8), (2, "wide.nii", DType::U16)]
    {
        let found = volume(id);
        assert_eq!(found.voxels.dtype(), dtype);
        assert!(same(&found, &nifti::read(folder.path().join(name)).unwrap()), "{name}");
    }
    std::fs::write(folder.path().join("ct.nii.gz"), "no image").unwrap();
    let (status, _, body) = get(&server, "converted/0");
    assert!(status == 500 && text(&body).contains("ct.nii.gz"), "{}", text(&body));
    std::fs::remove_file(folder.path().join("ct.nii.gz")).unwrap();
    let (status, _, body) = get(&server, "stored/0");
    assert!(status == 500 && text(&body).contains("cannot read ct.nii.gz"), "{}", text(&body));
}

/// The content of a body in chunks.
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut content = vec![];
    while let Some(end) = body.windows(2).position(|part| part == b"\r\n") {
        let size = usize::from_str_radix(&text(&body[..end]), 16).unwrap();
        content.extend(&body[end + 2..][..size]);
        body = &body[end + 2 + size + 2..];
    }
    content
}

#[test]
fn cases_are_those_of_a_run_or_belong_together_by_name() {
    let bundle = Bundle::new(2);
    assert!(bundle.infer(&[]).status.success());
    let find = |paths: &[&str], images: &[&str]| {
        let all = |names: &[&str]| names.iter().map(|name| bundle.path(name)).collect::<Vec<_>>();
        let (paths, images) = (all(paths), all(images));
        let cases = view::find(&Request { paths: &paths, images: &images, meta_file: None });
        let short = |path: Option<PathBuf>| {
            path.map_or("none".into(), |path| path.strip_prefix(bundle.0.path()).unwrap_or(&path).display().to_string())
        };
        cases.map(|cases| cases.into_iter().map(|case| [short(case.labels), short(case.image)]).collect::<Vec<_>>())
    };
    let labels = ["out/s0000/s0000_trans.nii.gz", "out/s0001/s0001_trans.nii.gz"];
    let images = ["images/s0000.nii.gz", "images/s0001.nii.gz"];
    let pairs: Vec<[String; 2]> = (0..2).map(|i| [labels[i].into(), images[i].into()]).collect();
    // The paths in run.json are relative to the folder of the bundle.
    let root = bundle.0.path().canonicalize().unwrap();
    let absolute = |path: &str| {
        root.join(path).strip_prefix(bundle.0.path()).map_or(root.join(path), Path::to_owned).display().to_string()
    };
    let from_run = find(&["out"], &[]).unwrap();
    assert_eq!(from_run.len(), 2);
    assert_eq!(from_run[1], [labels[1].to_owned(), absolute(images[1])]);
    assert_eq!(find(&labels, &images).unwrap(), pairs);
    // Images are recognized, also in a folder.
    let mixed = find(&[labels[1], "images", labels[0]], &[]).unwrap();
    assert_eq!(mixed, [pairs[1].clone(), pairs[0].clone()]);
    // The run.json above a result names its image.
    assert_eq!(find(&[labels[0]], &[]).unwrap(), [[labels[0].to_owned(), absolute(images[0])]]);
    let elsewhere = ["elsewhere/s0000/segmentations/liver.nii.gz", "elsewhere/s0001_trans.nii.gz"];
    for (from, to) in labels.iter().zip(elsewhere) {
        std::fs::create_dir_all(bundle.path(to).parent().unwrap()).unwrap();
        std::fs::copy(bundle.path(from), bundle.path(to)).unwrap();
    }
    assert_eq!(find(&[elsewhere[1]], &[]).unwrap(), [[elsewhere[1].to_owned(), "none".into()]]);
    // A folder beside that of a run, with the images of the run.
    let both = find(&["out", "elsewhere"], &[]).unwrap();
    assert_eq!(both[2], [elsewhere[1].to_owned(), absolute(images[1])]);
    // Results in folders of their cases, with an image beside the folder of masks.
    std::fs::remove_file(bundle.path(elsewhere[1])).unwrap();
    assert_eq!(find(&["elsewhere"], &[]).unwrap(), [[elsewhere[0].to_owned(), "none".into()]]);
    let image = ct(&bundle.path("elsewhere/s0000/ct.nii.gz"));
    let of_case = find(&["elsewhere/s0000/segmentations", "elsewhere/s0000"], &[]).unwrap();
    assert_eq!(of_case, [[elsewhere[0].to_owned(), "elsewhere/s0000/ct.nii.gz".into()]]);
    std::fs::remove_file(image).unwrap();
    assert_eq!(find(&[images[0]], &[]).unwrap(), [["none".to_owned(), images[0].into()]]);
    assert_eq!(find(&labels, &images[..1]).unwrap()[1], [labels[1], images[0]]);
    let error = |paths: &[&str], images: &[&str]| find(paths, images).unwrap_err().to_string();
    let other = ct(&bundle.path("images/other.nii.gz"));
    std::fs::copy(&other, bundle.path("images/another.nii.gz")).unwrap();
    assert!(error(&labels, &["images/other.nii.gz", "images/another.nii.gz"]).contains("belongs to this label map"));
    assert!(error(&labels, &["images/missing.nii.gz"]).contains("images/missing.nii.gz"));
    assert!(error(&labels, &["out/run.json"]).contains("run.json"));
    assert!(error(&["configs"], &[]).contains("neither run.json nor images"));
    assert!(error(&["missing.nii.gz"], &[]).contains("missing.nii.gz"));
    std::fs::remove_dir_all(bundle.path("out/s0000")).unwrap();
    std::fs::remove_dir_all(bundle.path("images")).unwrap();
    assert_eq!(find(&["out"], &[]).unwrap(), [[labels[1].to_owned(), "none".into()]]);
}

#[test]
fn label_maps_without_images_or_names_are_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a_seg.nii.gz", "b_seg.nii.gz"] {
        write(&folder.path().join(name), |i| (i % 3) as i64, DType::U8, false);
    }
    // The port of another server ends the command after the cases are found.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    install_niivue(folder.path());
    let output = program(folder.path())
        .args(["view", ".", "--port", &port])
        .env("XDG_CACHE_HOME", folder.path())
        .output()
        .unwrap();
    let log = text(&output.stderr);
    for expected in [
        "2 label maps without an image, the first is ./a_seg.nii.gz: `--image` gives images",
        "2 label maps without names of structures",
        "cannot listen on 127.0.0.1",
    ] {
        assert!(log.contains(expected), "{expected}: {log}");
    }
}

/// A random number from -699 to 699 for the voxel of an index.
fn noise(i: usize) -> i16 {
    ((i as u32).wrapping_mul(2_654_435_761) >> 16) as i16 % 700
}

fn write_large(path: &Path, slices: usize, value: impl Fn(usize) -> i16) -> PathBuf {
    let voxels = Voxels::I16((0..64 * 64 * slices).map(value).collect::<Vec<i16>>().into());
    let layout = Layout::fortran([1, 64, 64, slices]);
    nifti::write(path, &voxels, &layout, &Affine::IDENTITY, DType::I16, nifti::Options::default()).unwrap();
    path.to_owned()
}

#[test]
fn images_of_whole_values_are_told_from_label_maps() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("labelsTr")).unwrap();
    let path = |name: &str| folder.path().join(name);
    let in_body = |i: usize| (8..56).contains(&(i % 64));
    let mr = |i: usize| if in_body(i) { noise(i).abs() } else { 0 };
    let is_label_map = |path: PathBuf| {
        let cases = view::find(&Request { paths: &[path], images: &[], meta_file: None }).unwrap();
        assert_eq!(cases.len(), 1);
        cases[0].labels.is_some()
    };
    assert!(!is_label_map(write_large(&path("mr.nii.gz"), 20, mr)));
    assert!(is_label_map(write_large(&path("s1_trans.nii.gz"), 20, |i| if in_body(i) { 3 } else { 0 })));
    assert!(is_label_map(write_large(&path("labelsTr/s1.nii.gz"), 20, mr)));
    // NIFTI_INTENT_LABEL at byte 68 of the header.
    let intent = write_large(&path("intent.nii"), 20, mr);
    let mut bytes = std::fs::read(&intent).unwrap();
    bytes[68..70].copy_from_slice(&1002i16.to_le_bytes());
    std::fs::write(&intent, bytes).unwrap();
    assert!(is_label_map(intent));
}

#[test]
fn an_image_is_recognized_without_reading_it_to_the_end() {
    let folder = tempfile::tempdir().unwrap();
    // The end is missing.
    let path = write_large(&folder.path().join("mr.nii.gz"), 300, |i| noise(i).abs());
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() * 9 / 10]).unwrap();
    let cases = view::find(&Request { paths: std::slice::from_ref(&path), images: &[], meta_file: None }).unwrap();
    assert_eq!(cases[0].image, Some(path));
}

#[test]
fn without_the_viewer_s_files_the_command_says_how_to_get_them() {
    let folder = tempfile::tempdir().unwrap();
    ct(&folder.path().join("ct.nii.gz"));
    let output =
        program(folder.path()).args(["view", "ct.nii.gz"]).env("XDG_CACHE_HOME", folder.path()).output().unwrap();
    let log = text(&output.stderr);
    assert!(output.status.code() == Some(2) && log.contains("make viewer"), "{log}");
}

#[test]
fn the_command_prints_its_address_and_ends_with_an_interrupt() {
    let folder = tempfile::tempdir().unwrap();
    ct(&folder.path().join("ct.nii.gz"));
    install_niivue(folder.path());
    let start = |port: &str| {
        let mut command = program(folder.path());
        command.args(["-v", "view", "ct.nii.gz", "--port", port]).env("XDG_CACHE_HOME", folder.path());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut running = start("0");
    let mut url = String::new();
    BufReader::new(running.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let (host, path) = url.trim().strip_prefix("http://").unwrap().split_once('/').unwrap();
    let (address, token): (SocketAddr, _) = (host.parse().unwrap(), path.trim_end_matches('/'));
    assert!(address.ip().is_loopback() && token.len() == 32, "{url}");
    assert_eq!(send(address, &request("GET", &format!("/{path}niivue.js"), "")).2, NIIVUE.as_bytes());
    // Another program cannot use the same port.
    let taken = start(&address.port().to_string()).wait_with_output().unwrap();
    assert!(taken.status.code() == Some(2) && text(&taken.stderr).contains("cannot listen on 127.0.0.1"));
    // An open connection does not keep the server running.
    let _open = TcpStream::connect(address).unwrap();
    let interrupted = Instant::now();
    assert!(std::process::Command::new("kill").args(["-INT", &running.id().to_string()]).status().unwrap().success());
    assert_eq!(running.wait().unwrap().code(), Some(0));
    assert!(interrupted.elapsed() < Duration::from_secs(5));
    // The log can be passed on: it does not contain the token.
    let mut log = String::new();
    running.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("GET /niivue.js") && !log.contains(token), "{log}");
}
