package dev.chatshard.client;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** Makes the TLS settings of a client. */
public final class Tls {
    private Tls() {}

    /**
     * Trusts the certificates of a PEM file: those of private authorities, or of the server itself.
     *
     * @throws IOException if the file cannot be read, or holds no certificate
     */
    public static SSLContext trusting(Path pem) throws IOException {
        try (InputStream in = Files.newInputStream(pem)) {
            KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
            trusted.load(null, null);
            CertificateFactory certificates = CertificateFactory.getInstance("X.509");
            int number = 0;
            for (Certificate one : certificates.generateCertificates(in)) {
                trusted.setCertificateEntry("trusted-" + number++, one);
            }
            if (number == 0) {
                throw new IOException(pem + ": holds no certificate in PEM");
            }
            TrustManagerFactory factory =
                    TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
            factory.init(trusted);
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(null, factory.getTrustManagers(), null);
            return context;
        } catch (GeneralSecurityException error) {
            throw new IOException(pem + ": " + error.getMessage(), error);
        }
    }
}
