//! The API of the fleets: the user's own, or a stub on this machine.

use std::env::{self, VarError};
use std::io;

use flagcache::{PostHogApi, PostHogApiBuilder};
use flagcache_providers::testing::{ApiStub, Definitions};

use crate::text::in_one_line;

/// Flags in the definitions of the API on this machine.
const FLAGS: usize = 50;

/// Host and keys of an API.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) host: String,
    pub(crate) project_key: String,
    pub(crate) secret_key: String,
}

impl Credentials {
    const VARIABLES: [&str; 3] = ["POSTHOG_HOST", "POSTHOG_PROJECT_KEY", "POSTHOG_SECRET_KEY"];

    /// `None` if none of the three variables is set; an error, for the user, if only some are.
    pub(crate) fn from_env() -> Result<Option<Self>, String> {
        let [host, project_key, secret_key] = Self::VARIABLES.map(variable);
        match (host?, project_key?, secret_key?) {
            (Some(host), Some(project_key), Some(secret_key)) => Ok(Some(Self {
                host,
                project_key,
                secret_key,
            })),
            (None, None, None) => Ok(None),
            _ => Err(format!(
                "{} go together: set all three, or none of them",
                Self::VARIABLES.join(", ")
            )),
        }
    }

    /// The same, and an error too if they cannot be used at all.
    pub(crate) fn checked_from_env() -> Result<Option<Self>, String> {
        let credentials = Self::from_env()?;
        if let Some(credentials) = &credentials {
            credentials
                .source()
                .build()
                .map_err(|error| in_one_line(&error))?;
        }
        Ok(credentials)
    }

    /// The source that these make.
    pub(crate) fn source(&self) -> PostHogApiBuilder {
        PostHogApi::builder()
            .host(self.host.as_str())
            .project_key(self.project_key.as_str())
            .secret_key(self.secret_key.as_str())
    }

    /// As environment variables, for a worker.
    pub(crate) fn to_env(&self) -> [(&'static str, &str); 3] {
        let [host, project_key, secret_key] = Self::VARIABLES;
        [
            (host, &self.host),
            (project_key, &self.project_key),
            (secret_key, &self.secret_key),
        ]
    }
}

fn variable(name: &str) -> Result<Option<String>, String> {
    match env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.trim().is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(format!(
            "the environment variable {name} is not valid Unicode"
        )),
    }
}

/// The API of this run.
pub(crate) struct Api {
    pub(crate) credentials: Credentials,
    local: Option<Local>,
}

struct Local {
    stub: ApiStub,
    definitions: Definitions,
    changes: u32,
}

impl Api {
    /// The API of these credentials; without them, one on this machine.
    pub(crate) async fn open(credentials: Option<Credentials>) -> io::Result<Self> {
        match credentials {
            Some(credentials) => Ok(Self {
                credentials,
                local: None,
            }),
            None => Self::on_this_machine(Definitions::realistic(FLAGS, 1)).await,
        }
    }

    /// One on this machine with these definitions.
    pub(crate) async fn on_this_machine(definitions: Definitions) -> io::Result<Self> {
        let stub = ApiStub::start().await?;
        stub.set_definitions(&definitions);
        let credentials = Credentials {
            host: stub.url(),
            project_key: ApiStub::PROJECT_KEY.to_owned(),
            secret_key: ApiStub::SECRET_KEY.to_owned(),
        };
        Ok(Self {
            credentials,
            local: Some(Local {
                stub,
                definitions,
                changes: 0,
            }),
        })
    }

    /// One sentence for the story.
    pub(crate) fn describe(&self) -> String {
        match &self.local {
            Some(local) => format!(
                "the API is {}, on this machine, with {FLAGS} flags",
                local.stub.url()
            ),
            None => format!("the API is {}", self.credentials.host),
        }
    }

    /// Requests that arrived and units billed so far, by the API's own count; `None` if that cannot be known.
    pub(crate) fn counted(&self) -> Option<(u64, u64)> {
        let stats = self.local.as_ref()?.stub.stats();
        Some((stats.requests, stats.units))
    }

    pub(crate) fn can_change(&self) -> bool {
        self.local.is_some()
    }

    /// Changes one flag and says which and how; `None` at an API that is not ours to change.
    pub(crate) fn change_a_flag(&mut self) -> Option<String> {
        let local = self.local.as_mut()?;
        let key = local.definitions.keys().nth(7)?.to_owned();
        let percent = 10.0 + f64::from(local.changes % 36) * 2.5;
        local.changes += 1;
        local.definitions.set_rollout(&key, percent).then(|| {
            local.stub.set_definitions(&local.definitions);
            format!("the rollout of `{key}` is set to {percent} %")
        })
    }
}
