//! Which master to try next.

use reqwest::Url;

use super::StartError;

/// Redirections that are followed in a row; masters that send to one another are given up on for a while.
const MAX_REDIRECTS: usize = 4;

/// The masters, in rotation, and the leader that one of them pointed to.
#[derive(Debug)]
pub(super) struct Masters {
    urls: Vec<Url>,
    current: usize,
    leader: Option<Url>,
    redirects: usize,
}

impl Masters {
    pub(super) fn new(masters: &[String]) -> Result<Self, StartError> {
        let urls: Result<Vec<Url>, StartError> = masters.iter().map(|text| parse(text)).collect();
        let urls = urls?;
        if urls.is_empty() {
            return Err(StartError::NoMaster);
        }
        Ok(Masters { urls, current: 0, leader: None, redirects: 0 })
    }

    /// Where to call now.
    pub(super) fn url(&self) -> Url {
        let listed = || self.urls[self.current].clone();
        self.leader.clone().unwrap_or_else(listed)
    }

    /// The current one sent on to `location`. Says whether to follow.
    pub(super) fn redirect(&mut self, location: &str) -> bool {
        self.redirects += 1;
        let target = self.url().join(location).ok();
        let target = target.filter(|url| matches!(url.scheme(), "http" | "https"));
        if self.redirects > MAX_REDIRECTS || target.is_none() {
            return false;
        }
        self.leader = target;
        true
    }

    /// The current one is of no use: on to the next in the list.
    pub(super) fn failed(&mut self) {
        if self.leader.take().is_none() {
            self.current = (self.current + 1) % self.urls.len();
        }
        self.redirects = 0;
    }

    /// The current one leads.
    pub(super) fn succeeded(&mut self) {
        self.redirects = 0;
    }
}

fn parse(text: &str) -> Result<Url, StartError> {
    let refused = || StartError::NotAUrl(text.to_owned());
    let url = Url::parse(text).map_err(|_| refused())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(refused());
    }
    url.join("/api/v1/scheduler").map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masters() -> Masters {
        let list = ["http://a:5050", "http://b:5050/"].map(str::to_owned);
        Masters::new(&list).unwrap()
    }

    #[test]
    fn a_leader_without_scheme_is_followed_and_forgotten_when_it_fails() {
        let mut masters = masters();
        assert_eq!(masters.url().as_str(), "http://a:5050/api/v1/scheduler");
        assert!(masters.redirect("//c:5051/api/v1/scheduler"));
        assert_eq!(masters.url().as_str(), "http://c:5051/api/v1/scheduler");
        masters.failed();
        assert_eq!(masters.url().host_str(), Some("a"));
        masters.failed();
        assert_eq!(masters.url().as_str(), "http://b:5050/api/v1/scheduler");
        masters.failed();
        assert_eq!(masters.url().host_str(), Some("a"));
    }

    #[test]
    fn a_circle_of_redirections_ends() {
        let mut masters = masters();
        let followed = (0..100).filter(|_| masters.redirect("//b:5050/api/v1/scheduler"));
        assert_eq!(followed.count(), MAX_REDIRECTS);
        assert!(!super::Masters::new(&["http://a".to_owned()]).unwrap().redirect("ftp://x/"));
    }

    #[test]
    fn only_http_addresses_are_masters() {
        for text in ["", "a:5050", "zk://a:2181/mesos", "http://"] {
            assert!(Masters::new(&[text.to_owned()]).is_err(), "{text}");
        }
        assert!(matches!(Masters::new(&[]), Err(StartError::NoMaster)));
    }
}
