//! One order, from the account to the certificate
//! ([RFC 8555 §7.1](https://www.rfc-editor.org/rfc/rfc8555#section-7.1)).

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::authority::Authority;
use super::challenges::{Challenges, Shown};
use super::state::State;
use super::{AcmeError, Settings};

/// Orders a certificate and keeps it.
pub(super) async fn order(
    settings: &Settings,
    authority: &Authority,
    state: &State,
    challenges: &Challenges,
) -> Result<(), AcmeError> {
    let account = account(settings, authority, state).await?;
    let names = settings.domains.iter().cloned().map(Identifier::Dns);
    let names: Vec<_> = names.collect();
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    let shown = prove(&mut order, challenges).await?;
    let status = order.poll_ready(&RetryPolicy::default()).await?;
    if status == OrderStatus::Invalid {
        return Err(reason(&mut order).await);
    }
    drop(shown);
    // A fresh key for each certificate, on P-256: DTLS can sign with it too.
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(settings.domains.clone())?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key)?;
    order.finalize_csr(request.der()).await?;
    let chain = order.poll_certificate(&RetryPolicy::default()).await?;
    state.keep_certificate(&chain, &key.serialize_pem())
}

/// The one that there is, or a new one.
async fn account(
    settings: &Settings,
    authority: &Authority,
    state: &State,
) -> Result<Account, AcmeError> {
    let builder = Account::builder_with_http(Box::new(authority.clone()));
    if let Some(credentials) = state.account(&settings.directory) {
        return Ok(builder.from_credentials(credentials).await?);
    }
    let contact: Vec<_> = settings.contact.iter().map(String::as_str).collect();
    let wanted = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let directory = settings.directory.clone();
    let (account, credentials) = builder.create(&wanted, directory, None).await?;
    state.keep_account(&settings.directory, credentials)?;
    Ok(account)
}

/// Shows what proves that the names are ours, and has the authority look.
async fn prove(order: &mut Order, challenges: &Challenges) -> Result<Vec<Shown>, AcmeError> {
    let mut shown = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending
            | AuthorizationStatus::Invalid
            | AuthorizationStatus::Revoked
            | AuthorizationStatus::Expired
            | AuthorizationStatus::Deactivated => {}
        }
        let domain = authorization.identifier().to_string();
        let challenge = authorization.challenge(ChallengeType::Http01);
        let mut challenge = challenge.ok_or(AcmeError::NoChallenge(domain))?;
        let proof = challenge.key_authorization();
        shown.push(challenges.show(&challenge.token, proof.as_str()));
        challenge.set_ready().await?;
    }
    Ok(shown)
}

/// Which name it was, and what the authority says of it.
async fn reason(order: &mut Order) -> AcmeError {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = match authorization {
            Ok(authorization) => authorization,
            Err(error) => return error.into(),
        };
        // What was known before the attempt says nothing of it.
        if let Err(error) = authorization.refresh().await {
            return error.into();
        }
        let mut problems = authorization.challenges.iter();
        let problem = problems.find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = problem {
            return AcmeError::Unverified {
                domain: authorization.identifier().to_string(),
                reason: problem.to_string(),
            };
        }
    }
    AcmeError::Unverified {
        domain: "a name".to_owned(),
        reason: "without saying why".to_owned(),
    }
}
