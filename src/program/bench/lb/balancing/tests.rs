use super::*;
use crate::{lb::SynProxy, lb_file::File};

fn members() -> Vec<Member> {
    let mut members = Member::all(3);
    (members[0].drains, members[1].weight) = (true, 50);
    members
}

#[test]
fn xskip_takes_its_file() {
    for (mode, is_flood) in [(Mode::Dsr, false), (Mode::Ipip, false), (Mode::Gue, true), (Mode::Nat, false)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lb.toml");
        let master = (mode == Mode::Dsr).then_some(Path::new("/folder/cookie.key"));
        fs::write(&path, xskip::configuration(folder.path(), mode, is_flood, master, &members())).unwrap();
        let file = File::read(&path).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(file.interfaces.len(), if is_flood { 2 } else { 1 });
        assert_eq!(file.services.len(), 2);
        assert_eq!(file.cookie_master_file.as_deref(), master);
        let wanted = if master.is_some() { SynProxy::Always } else { SynProxy::Off };
        assert_eq!([0, 1].map(|it| file.services[it].syn_proxy), [wanted, SynProxy::Off]);
        for service in &file.services {
            assert_eq!((service.mode, service.backends.len()), (mode, 3));
            assert_eq!(service.backends[1].weight, 50);
        }
    }
}

#[test]
fn haproxy_drains_by_a_weight_of_nought() {
    let text = haproxy::configuration(Path::new("/folder/socket"), 1, 9_000, &members());
    for piece in [
        "cpu-map 1/1 1\n",
        "nbthread 1\n",
        "option splice-auto\n",
        "maxconn 9000\n",
        "stats socket /folder/socket mode 600 level admin expose-fd listeners",
        "bind 198.18.0.80:80\n",
        "server b1 198.18.1.11:80 weight 0\n",
        "server b2 198.18.1.12:80 weight 50\n",
        "server b3 198.18.1.13:80 weight 100\n",
    ] {
        assert!(text.contains(piece), "{piece} in {text}");
    }
}

#[test]
fn nginx_drains_by_a_server_that_is_down() {
    let module = Path::new("/modules/ngx_stream_module.so");
    let text = nginx_stream::configuration(Path::new("/folder"), Some(module), 2, 9_000, &members());
    for piece in [
        "load_module /modules/ngx_stream_module.so;",
        "worker_processes 1;",
        "worker_cpu_affinity 100;",
        "worker_connections 18064;",
        "worker_rlimit_nofile 18128;",
        "server 198.18.1.11:80 weight=100 max_fails=1 fail_timeout=2s down;",
        "server 198.18.1.12:7 weight=50 max_fails=1 fail_timeout=2s;",
        "listen 198.18.0.80:7 udp;",
    ] {
        assert!(text.contains(piece), "{piece} in {text}");
    }
    assert_eq!(text.matches('{').count(), text.matches('}').count());
    assert!(!nginx_stream::configuration(Path::new("/folder"), None, 2, 9_000, &members()).contains("load_module"));
}

#[test]
fn the_module_of_nginx_is_found_where_it_would_be() {
    let module = nginx_stream::module_of;
    assert_eq!(module("configure arguments: --with-threads"), None);
    assert_eq!(module("arguments: --with-stream --with-threads"), Some(None));
    let dynamic = "arguments: --modules-path=/modules --with-stream=dynamic --with-stream_ssl_module";
    assert_eq!(module(dynamic), Some(Some("/modules/ngx_stream_module.so".into())));
}

#[test]
fn the_kernel_divides_a_hash_by_weights() {
    let text = nft::rules(&members());
    assert!(text.contains("mod 150 map { 0-49 : 198.18.1.12, 50-149 : 198.18.1.13 }"), "{text}");
    assert_eq!(text.matches("dnat to jhash").count(), 2);
}
