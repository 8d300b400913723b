use super::*;

#[test]
fn names_are_fit_for_files_and_command_lines() {
    for good in ["lab", "a", "9", "Lab_2.b-c", &"x".repeat(LENGTH_MAX)] {
        assert_eq!(good.parse::<LabName>().unwrap().as_str(), good);
    }
    for bad in ["", "-a", ".a", "..", "a/b", "a b", "a\n", "ä", &"x".repeat(LENGTH_MAX + 1)] {
        let error = bad.parse::<LabName>().unwrap_err().to_string();
        assert!(error.contains("cannot name a lab"), "{error}");
    }
}

#[test]
fn a_namespace_tells_its_lab() {
    let name: LabName = "my-lab".parse().unwrap();
    for role in [Role::Server, Role::Client] {
        assert_eq!(LabName::of_namespace(&name.namespace(role)), Some(name.clone()));
    }
    assert_eq!(name.namespace(Role::Server), "my-lab-server");
    for other in ["server", "-client", "lab-router", "lab"] {
        assert_eq!(LabName::of_namespace(other), None, "{other}");
    }
}
