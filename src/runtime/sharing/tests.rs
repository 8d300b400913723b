use super::*;

const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 010012C6:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3 1
   3: 010012C6:0016 020012C6:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4 1
   4: 00000000000000000000000000000000:1F91 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5 1
   5: 0000000000000000FFFF0000010012C6:1F92 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 6 1
";

const UDP: &str = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  101: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 7 2 0 0
  102: 010012C6:0007 020012C6:9C40 01 00000000:00000000 00:00000000 00000000     0        0 8 2 0 0
";

fn hidden_sockets(conflicts: &[Conflict]) -> Vec<String> {
    let socket = |conflict: &Conflict| match conflict {
        Conflict::Hidden { socket, udp } => format!("{} {socket}", if *udp { "udp" } else { "tcp" }),
        Conflict::Ephemeral { .. } => unreachable!("{conflict}"),
    };
    conflicts.iter().map(socket).collect()
}

#[test]
fn ports_that_the_kernel_may_pick_are_named_unless_they_are_reserved() {
    let range = "32768\t60999";
    let found =
        ephemeral(&[60_999, 80, 40_000, 50_000, 61_000, 60_998], range, "40000,49999-50001".to_owned()).unwrap();
    let said = found.to_string();
    assert!(said.contains("ports 32768 to 60999") && said.contains("opens from 60998-60999 would"), "{said}");
    // What is reserved already stays so.
    assert!(said.contains("ip_local_reserved_ports=40000,49999-50001,60998-60999`"), "{said}");
    let first = ephemeral(&[40_000, 40_000, 40_002], range, String::new()).unwrap().to_string();
    assert!(first.contains("ip_local_reserved_ports=40000,40002`"), "{first}");
    assert_eq!(ephemeral(&[80, 61_000], range, String::new()), None);
    assert_eq!(ephemeral(&[40_000], "", String::new()), None, "a kernel that does not tell is not doubted");
}

#[test]
fn what_is_to_be_reserved_is_written_as_it_is_read() {
    for (ports, text) in
        [(vec![7], "7"), (vec![7, 9], "7,9"), (vec![7, 8, 9, 11, 65_534, 65_535], "7-9,11,65534-65535")]
    {
        assert_eq!(as_ranges(&ports), text);
        let read: Vec<u16> = text.split(',').flat_map(|range| parse_range(range).unwrap()).collect();
        assert_eq!(read, ports);
    }
}

#[test]
#[cfg(target_endian = "little")] // the table has words as the machine stores them
fn listeners_that_would_be_hidden_are_named() {
    let address: IpAddr = [198, 18, 0, 1].into();
    let found = hidden(&[address], &[22, 80, 443, 8_080, 8_081, 8_082], TCP, false);
    // Not 80, which is at another address, nor 22, where only a connection is.
    let listeners = ["tcp 0.0.0.0:8080", "tcp 198.18.0.1:443", "tcp [::]:8081", "tcp 198.18.0.1:8082"];
    assert_eq!(hidden_sockets(&found), listeners);
    assert_eq!(hidden_sockets(&hidden(&[address], &[7, 53], UDP, true)), ["udp 0.0.0.0:53"]);
    // Who listens at all IPv4 addresses misses nothing of IPv6.
    let ipv6 = "2001:2::1".parse().unwrap();
    assert_eq!(hidden_sockets(&hidden(&[ipv6], &[8_080, 8_081], TCP, false)), ["tcp [::]:8081"]);
}

#[test]
fn where_nothing_is_shared_nothing_is_in_the_way() {
    let everything: Vec<u16> = (1..=u16::MAX).collect();
    assert_eq!(conflicts(&[], &everything, &everything), []);
}
