//! Which master to try next.

use reqwest::Url;

use super::StartError;
use super::zookeeper::Ensemble;

/// Redirections that are followed in a row; masters that send to one another are given up on for a while.
const MAX_REDIRECTS: usize = 4;

/// The masters, and the leader that was found among them.
#[derive(Debug)]
pub(super) struct Masters {
    known: Known,
    /// Which of several masters, or servers of the ensemble, is asked next.
    turn: usize,
    leader: Option<Url>,
    redirects: usize,
}

/// How masters are known.
#[derive(Debug)]
enum Known {
    /// Each by its address; one that does not lead points to the one that does.
    Listed(Vec<Url>),
    /// By their election.
    Elected(Ensemble),
}

impl Masters {
    pub(super) fn new(masters: &[String]) -> Result<Self, StartError> {
        let known = match masters {
            [] => return Err(StartError::NoMaster),
            [only] if only.starts_with("zk://") => Known::Elected(Ensemble::parse(only).ok_or(StartError::NoMaster)??),
            listed => Known::Listed(listed.iter().map(|text| parse(text)).collect::<Result<_, _>>()?),
        };
        Ok(Masters { known, turn: 0, leader: None, redirects: 0 })
    }

    /// Where to call now; the reason where nobody leads.
    pub(super) async fn locate(&mut self) -> Result<Url, String> {
        if let Some(leader) = &self.leader {
            return Ok(leader.clone());
        }
        match &self.known {
            Known::Listed(urls) => Ok(urls[self.turn % urls.len()].clone()),
            Known::Elected(ensemble) => {
                let leader = ensemble.leader(self.turn).await.and_then(|text| parse(&text).map_err(|e| e.to_string()));
                self.turn = self.turn.wrapping_add(usize::from(leader.is_err()));
                self.leader = Some(leader?);
                self.leader.clone().ok_or_else(String::new)
            }
        }
    }

    /// The one at `from` sent on to `location`. Says whether to follow.
    pub(super) fn redirect(&mut self, from: &Url, location: &str) -> bool {
        self.redirects += 1;
        let target = from.join(location).ok();
        let target = target.filter(|url| matches!(url.scheme(), "http" | "https"));
        if self.redirects > MAX_REDIRECTS || target.is_none() {
            return false;
        }
        self.leader = target;
        true
    }

    /// The current one is of no use: on to the next.
    pub(super) fn failed(&mut self) {
        if self.leader.take().is_none() {
            self.turn = self.turn.wrapping_add(1);
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

    async fn host(masters: &mut Masters) -> String {
        masters.locate().await.unwrap().host_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_leader_without_scheme_is_followed_and_forgotten_when_it_fails() {
        let mut masters = masters();
        let first = masters.locate().await.unwrap();
        assert_eq!(first.as_str(), "http://a:5050/api/v1/scheduler");
        assert!(masters.redirect(&first, "//c:5051/api/v1/scheduler"));
        assert_eq!(masters.locate().await.unwrap().as_str(), "http://c:5051/api/v1/scheduler");
        for next in ["a", "b", "a"] {
            masters.failed();
            assert_eq!(host(&mut masters).await, next);
        }
    }

    #[tokio::test]
    async fn a_circle_of_redirections_ends() {
        let mut masters = masters();
        let from = masters.locate().await.unwrap();
        let followed = (0..100).filter(|_| masters.redirect(&from, "//b:5050/api/v1/scheduler"));
        assert_eq!(followed.count(), MAX_REDIRECTS);
        assert!(!super::Masters::new(&["http://a".to_owned()]).unwrap().redirect(&from, "ftp://x/"));
    }

    #[test]
    fn only_http_addresses_or_one_ensemble_are_masters() {
        for texts in [vec![""], vec!["a:5050"], vec!["http://"], vec!["zk://a"], vec!["zk://a:1/m", "http://b:5050"]] {
            let texts: Vec<String> = texts.into_iter().map(str::to_owned).collect();
            assert!(Masters::new(&texts).is_err(), "{texts:?}");
        }
        assert!(matches!(Masters::new(&[]), Err(StartError::NoMaster)));
        assert!(Masters::new(&["zk://a:2181/mesos".to_owned()]).is_ok());
    }
}
