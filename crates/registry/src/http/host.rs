// SPDX-License-Identifier: Apache-2.0
//! One registry host: which scheme it speaks, who we are there, and how a request is carried through.
//!
//! A secret is sent to the host's own origin and to nobody else: redirects are followed here, hop by hop, and the
//! `Authorization` header is added only where the origin is still the host's.

use std::collections::HashSet;
use std::sync::Mutex;
use std::thread;

use ureq::http::{Method, Request, Uri};
use ureq::{Agent, AsSendBody, SendBody};

use super::ask::{Ask, Sending, Target};
use super::failure::{Failure, Retry, Tried};
use super::url::{self, join};
use super::{Answer, Origin, Pauses, Trust};
use crate::auth::Auth;
use crate::client::Shared;
use crate::settings::lock;
use crate::{Error, ErrorKind, Result};

/// Most redirects of one request.
const HOPS: usize = 10;

/// A host as `(name, insecure)` names it, shared by all threads.
#[derive(Debug)]
pub(crate) struct Host {
    /// As references spell it: the key for logins.
    pub(crate) name: String,
    trust: Trust,
    /// Decided by the first answer.
    origin: Mutex<Decided>,
    pub(crate) auth: Auth,
    /// Repositories from which nothing can be mounted; `None` stands for "from anywhere".
    unmountable: Mutex<HashSet<Option<String>>>,
}

#[derive(Clone, Debug)]
struct Decided {
    origin: Origin,
    /// Whether it has ever answered.
    answered: bool,
}

impl Host {
    /// A registry as references name it. TLS is tried first.
    pub(crate) fn new(name: &str, insecure: bool, verify: Option<bool>) -> Result<Self> {
        let authority = if name == "docker.io" { "registry-1.docker.io" } else { name };
        let origin = Origin::of_authority(true, authority)?;
        let trust = Trust::of(&origin.host, insecure, verify);
        Ok(Self::at(name, origin, trust))
    }

    /// A host whose scheme is known.
    pub(crate) fn at(name: &str, origin: Origin, trust: Trust) -> Self {
        let origin = Mutex::new(Decided { origin, answered: false });
        Self { name: name.to_owned(), trust, origin, auth: Auth::default(), unmountable: Mutex::default() }
    }

    /// How another origin that this host points to is to be trusted: as itself where it is the same machine, else as
    /// if it had been named by the user.
    pub(crate) fn trust_of(&self, shared: &Shared, origin: &Origin) -> Trust {
        if origin.host == self.origin().host {
            return self.trust;
        }
        Trust::of(&origin.host, false, shared.settings.tls.verify)
    }

    /// Whether passwords may go over plain HTTP here.
    pub(crate) fn tolerates_plain(&self) -> bool {
        self.trust != Trust::Verified
    }

    /// Whether it has refused to mount from that repository, or from anywhere.
    pub(crate) fn refuses_mounts(&self, from: Option<&str>) -> bool {
        lock(&self.unmountable).contains(&from.map(str::to_owned))
    }

    pub(crate) fn refused_mount(&self, from: Option<&str>) {
        lock(&self.unmountable).insert(from.map(str::to_owned));
    }

    /// Where the `Location` of an answer leads; never from TLS to plain HTTP.
    pub(crate) fn location(&self, answer: &Answer) -> Result<Uri> {
        let refuse = |what: &str| Error::new(ErrorKind::Invalid, format!("{}: {what}", answer.place()));
        let location = answer.header("location").ok_or_else(|| refuse("answer has no Location"))?;
        let uri = join(&answer.uri, location)?;
        let (from, to) = (Origin::of(&answer.uri)?, Origin::of(&uri)?);
        if from.tls && !to.tls && self.trust != Trust::Anything {
            return Err(refuse(&format!("Location leads from https to {to}")));
        }
        Ok(uri)
    }

    pub(crate) fn origin(&self) -> Origin {
        lock(&self.origin).origin.clone()
    }

    /// Carries `ask` through. Any status below 400 and the expected ones come back as answers.
    pub(crate) fn send(&self, shared: &Shared, mut ask: Ask<'_>) -> Result<Answer> {
        let mut pauses = Pauses::new(&shared.settings.patience);
        loop {
            let failure = match self.authorized(shared, &mut ask) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let wish = match failure.retry {
                Retry::Later(wish) => wish,
                Retry::Refused if lock(&self.origin).answered => None,
                _ => return Err(failure.error),
            };
            if matches!(ask.body, Sending::Stream(..)) {
                return Err(failure.error);
            }
            match pauses.next(wish) {
                Some(pause) => thread::sleep(pause),
                None => return Err(failure.error),
            }
        }
    }

    /// One try, with a token where the host wants one.
    fn authorized(&self, shared: &Shared, ask: &mut Ask<'_>) -> Tried<Answer> {
        let secret = match &ask.secret {
            Some(secret) => Some(secret.clone()),
            None => self.auth.ready(shared, self, &ask.scopes)?,
        };
        let answer = self.follow(shared, ask, secret.as_deref())?;
        if answer.status != 401 {
            return judge(answer, ask.expected);
        }
        if Origin::of(&answer.uri)? != self.origin() {
            // A storage host behind a redirect: our login is none of its business.
            return Err(Failure::of_answer(answer));
        }
        let Some(secret) =
            self.auth.challenged(shared, self, &answer.headers, &ask.scopes, secret.as_deref())?
        else {
            return Err(Failure::of_answer(answer));
        };
        if matches!(ask.body, Sending::Stream(..)) {
            // The stream is spent; the next try of the caller begins with the new token.
            let what = format!("{}: the login ended during the upload", answer.place());
            return Err(Error::new(ErrorKind::Unreachable, what).into());
        }
        answer.finish();
        judge(self.follow(shared, ask, Some(&secret))?, ask.expected)
    }

    /// Follows redirects by hand.
    fn follow(&self, shared: &Shared, ask: &mut Ask<'_>, secret: Option<&str>) -> Tried<Answer> {
        let mut answer = self.first(shared, ask, secret)?;
        for _ in 0..HOPS {
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let uri = self.redirect(&answer, ask)?;
            answer.finish();
            let origin = Origin::of(&uri)?;
            let secret = secret.filter(|_| origin == self.origin());
            let agent = shared.agents.get(&origin, self.trust_of(shared, &origin), &shared.settings)?;
            answer = once(&agent, &origin, uri, ask, secret)?;
        }
        Err(Error::new(ErrorKind::Invalid, format!("{}: more than {HOPS} redirects", answer.place())).into())
    }

    /// Where an answer redirects to, if a request like this may go there.
    fn redirect(&self, answer: &Answer, ask: &Ask<'_>) -> Result<Uri> {
        let uri = self.location(answer)?;
        let to = Origin::of(&uri)?;
        let elsewhere = Origin::of(&answer.uri)? != to;
        let carries = match ask.body {
            Sending::Stream(..) => true,
            Sending::Bytes(_) => elsewhere,
            Sending::Nothing => elsewhere && !matches!(ask.method, Method::GET | Method::HEAD),
        };
        if carries {
            let what = format!("{}: redirect of {} to {to} is not followed", answer.place(), ask.method);
            return Err(Error::new(ErrorKind::Invalid, what));
        }
        Ok(uri)
    }

    /// The first hop, which also finds out whether the host speaks TLS.
    fn first(&self, shared: &Shared, ask: &mut Ask<'_>, secret: Option<&str>) -> Tried<Answer> {
        let decided = lock(&self.origin).clone();
        let failure = match self.hop(shared, &decided.origin, ask, secret) {
            Err(failure) if decided.origin.tls && !decided.answered => failure,
            other => return self.decide(other, decided.origin),
        };
        let fallback = match failure.retry {
            Retry::NoTls => self.trust != Trust::Verified,
            Retry::Refused | Retry::Later(_) => self.trust == Trust::Anything,
            _ => false,
        };
        if !fallback || matches!(ask.target, Target::Address(_)) {
            return Err(failure);
        }
        let plain = self.plain_origin(&decided.origin)?;
        match self.hop(shared, &plain, ask, secret) {
            Err(second) if second.retry == Retry::Refused => Err(failure),
            other => self.decide(other, plain),
        }
    }

    fn plain_origin(&self, origin: &Origin) -> Result<Origin> {
        let authority = if origin.port == 443 { origin.host.clone() } else { origin.authority() };
        Origin::of_authority(false, &authority)
    }

    fn decide(&self, outcome: Tried<Answer>, origin: Origin) -> Tried<Answer> {
        if outcome.is_ok() {
            *lock(&self.origin) = Decided { origin, answered: true };
        }
        outcome
    }

    fn hop(
        &self,
        shared: &Shared,
        origin: &Origin,
        ask: &mut Ask<'_>,
        secret: Option<&str>,
    ) -> Tried<Answer> {
        let uri = match &ask.target {
            Target::Path(path) => url::parse(&format!("{origin}{path}"))?,
            Target::Address(uri) => uri.clone(),
        };
        let target = Origin::of(&uri)?;
        let own = target == *origin;
        let trust = if own { self.trust } else { self.trust_of(shared, &target) };
        let agent = shared.agents.get(&target, trust, &shared.settings)?;
        let answer = once(&agent, &target, uri, ask, secret.filter(|_| own))?;
        shared.heed_warnings(&answer.headers);
        Ok(answer)
    }
}

fn judge(answer: Answer, expected: &[u16]) -> Tried<Answer> {
    if answer.status < 400 || expected.contains(&answer.status) {
        return Ok(answer);
    }
    Err(Failure::of_answer(answer))
}

/// One request on one connection.
fn once(agent: &Agent, origin: &Origin, uri: Uri, ask: &mut Ask<'_>, secret: Option<&str>) -> Tried<Answer> {
    let mut request = Request::builder().method(ask.method.clone()).uri(uri.clone());
    for (name, value) in &ask.headers {
        request = request.header(*name, value);
    }
    if let Some(secret) = secret {
        request = request.header("authorization", secret);
    }
    if let Sending::Stream(_, length) = ask.body {
        request = request.header("content-length", length);
    }
    let sends = matches!(ask.method, Method::POST | Method::PUT | Method::PATCH);
    let answered = match &mut ask.body {
        Sending::Nothing if sends => run(agent, request, &[][..]),
        Sending::Nothing => run(agent, request, ()),
        Sending::Bytes(bytes) => run(agent, request, *bytes),
        Sending::Stream(reader, _) => run(agent, request, SendBody::from_reader(reader)),
    };
    let (parts, body) = answered.map_err(|error| Failure::of_transport(origin, error))?.into_parts();
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, uri, body })
}

fn run(
    agent: &Agent,
    request: ureq::http::request::Builder,
    body: impl AsSendBody,
) -> std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error> {
    agent.run(request.body(body)?)
}
