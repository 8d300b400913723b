use super::*;

#[test]
fn every_contender_has_a_name_that_leads_back_to_it() {
    let names = ["xskip", "xskip-userspace", "kernel", "nft-synproxy", "xdp-tx"];
    assert_eq!(Contender::ALL.map(|contender| contender.to_string()), names);
    assert_eq!(names.map(|name| name.parse()), Contender::ALL.map(Ok));
    assert_eq!(format!("{:8}|", Contender::Kernel), "kernel  |");
}

#[test]
fn an_unknown_name_is_answered_by_those_there_are() {
    for name in ["", "Xskip", "nginx", "xskip "] {
        let said = name.parse::<Contender>().unwrap_err().to_string();
        let rest = "is no contender: name xskip, xskip-userspace, kernel, nft-synproxy, xdp-tx";
        assert_eq!(said, format!("\"{name}\" {rest}"));
    }
}

#[test]
fn all_but_the_reflector_serve_and_each_is_one_sentence() {
    for contender in Contender::ALL {
        assert_eq!(contender.serves_clients(), contender != Contender::XdpTx);
        let about = contender.about();
        assert!(about.ends_with('.') && !about.contains(". "), "{about}");
    }
}
