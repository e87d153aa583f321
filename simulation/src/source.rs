//! [`Source`]: one worker's access to the modelled API.

use std::sync::Arc;

use async_trait::async_trait;
use flagcache::{FetchError, FetchErrorKind, FetchResponse, FlagDefinitionSource};
use tokio::time::{Instant, sleep};

use crate::link::Link;
use crate::plant::Plant;
use crate::world::World;

/// One worker's access to the API.
pub(crate) struct Source {
    pub(crate) world: Arc<World>,
    pub(crate) link: Arc<Link>,
}

#[async_trait]
impl FlagDefinitionSource for Source {
    async fn fetch(&self, etag: Option<&str>) -> Result<FetchResponse, FetchError> {
        let costs = self.world.redis.lock().costs;
        if self.link.is_dead() {
            return Err(FetchError::new(
                FetchErrorKind::Connect,
                "the process has ended",
            ));
        }
        let copy = self.world.redis.lock().state_of_copy();
        self.world
            .checks
            .lock()
            .request(&self.link, copy, etag.is_some());
        sleep(costs.api_round_trip / 2).await;
        let answer = {
            let since = Instant::now() - self.world.began;
            let plant = self.world.plan.plant;
            if plant == Some(Plant::ClearsFlags) && since.as_secs() > 1_800 {
                Err(FetchError::new(FetchErrorKind::Unauthorized, "401"))
            } else {
                let etag = etag.filter(|_| plant != Some(Plant::ForgetsEtags));
                let leads = self.link.leads();
                Ok(self.world.api.lock().answer(since.as_secs(), leads, etag))
            }
        };
        sleep(costs.api_round_trip / 2).await;
        answer
    }
}
