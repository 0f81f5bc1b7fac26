//! The configuration loaded anew, and handed to everyone whom it concerns, without anybody being dropped.

use std::{env, sync::Arc};

use tracing::{error, info};

use super::certificates::Certificates;
use super::{share_secret, supervisor};
use crate::config::{Config, Reloaded};
use crate::credentials::Credentials;
use crate::http;
use crate::logging::Levels;
use crate::relay::{Relay, engine::Rules};
use crate::signaling::Signaling;
use crate::store::redis::Redis;

/// The running configuration, and who follows it.
pub(super) struct Live {
    pub(super) config: Config,
    pub(super) certificates: Certificates,
    pub(super) credentials: Arc<Credentials>,
    pub(super) relay: Relay,
    pub(super) signaling: Signaling,
    pub(super) http: http::State,
    pub(super) levels: Levels,
    pub(super) redis: Option<Redis>,
}

impl Live {
    /// All of the new configuration that needs no restart holds from now on, or nothing of it.
    pub(super) async fn reload(&mut self) {
        supervisor::reloading();
        match self.config.reload(env::vars_os()) {
            Ok(reloaded) => self.follow(reloaded).await,
            Err(error) => error!(%error, "nothing is changed: the configuration does not load"),
        }
        supervisor::ready();
    }

    async fn follow(&mut self, reloaded: Reloaded) {
        let Reloaded {
            config,
            applied,
            needs_restart,
        } = reloaded;
        self.apply(&config, &applied).await;
        self.config = config;
        let (applied, needs_restart) = (applied.join(", "), needs_restart.join(", "));
        info!(applied, needs_restart, "the configuration is loaded anew");
    }

    async fn apply(&mut self, config: &Config, changed: &[String]) {
        // Where something else writes the records, it decides which.
        let _ = self.levels.set(config.log.level.clone());
        self.certificates.follow(config);
        self.apply_credentials(config, changed).await;
        let rules = Rules::from(config.relay.engine.clone());
        self.relay.apply(config.relay.limits, rules);
        self.signaling.apply(config.signaling.clone());
        let http = &config.http;
        self.http
            .room
            .resize(http.connections, http.connections_per_source);
        self.http.apply(http);
    }

    async fn apply_credentials(&mut self, config: &Config, changed: &[String]) {
        let is_new = |key: &String| key.starts_with("credentials.secret");
        let mut settings = config.credentials.clone();
        let is_kept = config.random_secret && self.config.random_secret;
        // Another node's secret may have been adopted in place of the one that was made.
        let adopted = self.credentials.secret().filter(|_| is_kept);
        if let (Some(adopted), Some(own)) = (adopted, settings.secrets.first_mut()) {
            *own = adopted;
        }
        self.credentials.apply(settings);
        if let Some(redis) = self
            .redis
            .clone()
            .filter(|_| config.random_secret && !is_kept)
        {
            share_secret(redis, Arc::clone(&self.credentials)).await;
        }
        if changed.iter().any(is_new) {
            self.signaling.reissue();
        }
    }
}
