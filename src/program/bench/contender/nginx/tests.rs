use super::*;

#[test]
fn one_worker_is_enough_unless_descriptors_are_short() {
    let crew = |connections, descriptors| Crew::for_connections(connections, descriptors);
    assert_eq!(crew(64, 20_000).unwrap(), Crew { workers: 1, connections: 8_192 });
    assert_eq!(crew(100_000, 1 << 20).unwrap(), Crew { workers: 1, connections: 100_000 });
    let many = crew(100_000, 20_000).unwrap();
    assert_eq!(many, Crew { workers: 6, connections: 19_872 });
    assert!(many.workers * many.connections >= 110_000);
    let said = crew(10_000_000, 20_000).unwrap_err().to_string();
    assert!(said.contains("10000000 connections take 554 workers of nginx"), "{said}");
    assert!(crew(100_000, 128).is_err(), "no room at all");
}

#[test]
fn memory_that_is_not_there_is_not_asked_for() {
    assert!(check_memory(100_000, Some(1 << 30)).is_ok());
    assert!(check_memory(100_000, None).is_ok());
    let said = check_memory(10_000_000, Some(20 << 30)).unwrap_err().to_string();
    assert!(said.contains("10000000 connections take 41961 MiB of the kernel's memory, of which 20480 MiB"), "{said}");
}

#[test]
fn the_configuration_names_core_folder_and_address() {
    let target = "198.18.0.254:80".parse().unwrap();
    let options = NginxOptions { target, core: 3, connections: 64, large: 0, page: &page() };
    let text = configuration(Path::new("/folder"), &options, Crew { workers: 1, connections: 8_192 });
    for piece in [
        "worker_cpu_affinity 1000;",
        "listen 198.18.0.254:80 backlog=65535;",
        "pid /folder/nginx.pid;",
        "worker_connections 8256;",
        "worker_rlimit_nofile 8320;",
        "return 200 \"The kernel has seen",
    ] {
        assert!(text.contains(piece), "{piece} in {text}");
    }
    assert_eq!(text.matches('{').count(), text.matches('}').count());
    let divided = configuration(
        Path::new("/folder"),
        &NginxOptions { core: 0, ..options },
        Crew { workers: 6, connections: 19_872 },
    );
    assert!(divided.contains("backlog=65535 reuseport;") && divided.contains("worker_cpu_affinity 1;"), "{divided}");
}

#[test]
fn a_large_file_is_as_large_as_it_should_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    provide(&path, 1 << 20).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 20);
    assert!(provide(Path::new("/no/such/folder/large"), 1).is_err());
}
