//! For whom the status server is meant, by the name that it is asked under. A page on the internet can have its own name lead to this machine
//! (DNS rebinding) and read with its visitor's browser what only the network's own may read: but the request still carries that name.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};

/// Whether a request is for an address, for a name that nobody on the internet can have, or for one that settings name.
pub fn is_meant(uri: &Uri, headers: &HeaderMap, named: &[String]) -> bool {
    if let Some(authority) = uri.authority() {
        return is_ours(authority, named);
    }
    match headers.get(header::HOST) {
        // No browser leaves it out.
        None => true,
        Some(host) => host
            .to_str()
            .ok()
            .and_then(|host| host.parse().ok())
            .is_some_and(|host| is_ours(&host, named)),
    }
}

fn is_ours(authority: &Authority, named: &[String]) -> bool {
    let host = authority.host().to_ascii_lowercase();
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if let Some(address) = bracketed {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let host = host.strip_suffix('.').unwrap_or(&host);
    // Names of one word are those of a network's own: of a service in Compose, of a host, `localhost`.
    host.parse::<IpAddr>().is_ok()
        || !host.is_empty() && !host.contains('.')
        || host.ends_with(".localhost")
        || named.iter().any(|name| name == host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_are_not_ours() {
        let named = ["status.example.org".to_owned()];
        let meant = |host: &str| {
            let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
            is_meant(&Uri::from_static("/"), &headers, &named)
        };
        for host in [
            "127.0.0.1:8484",
            "192.168.7.1",
            "[::1]:8484",
            "localhost:8484",
            "LOCALHOST.",
            "backup",
            "app.localhost:1",
            "Status.Example.Org:443",
        ] {
            assert!(meant(host), "{host}");
        }
        for host in [
            "evil.example:8484",
            "status.example.org.evil.example",
            "127.0.0.1.evil.example",
            "user@evil.example",
            "[evil.example]",
            "",
            ".",
            "a b",
        ] {
            assert!(!meant(host), "{host}");
        }
        let nobody = HeaderMap::new();
        assert!(is_meant(&Uri::from_static("/"), &nobody, &named));
        assert!(!is_meant(
            &Uri::from_static("http://evil.example/"),
            &nobody,
            &named
        ));
    }
}
