//! What a status says, and ours.

use super::*;

#[test]
fn resident_memory_is_read_from_the_status_of_a_process() {
    assert_eq!(resident_in("Name:\tx\nVmHWM:\t   200 kB\nVmRSS:\t    1234 kB\n"), Some(1_234 * 1_024));
    assert_eq!(resident_in("Name:\tkthreadd\n"), None);
    assert_eq!(resident_in("VmRSS:\t many kB\n"), None);
    assert!(resident("self") > Some(1 << 20));
    assert_eq!(resident("nobody"), None);
}
